"""compare.html: the answer first, then the evidence for it, then what was kept equal and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from math import isfinite, isnan, nan
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from boxwright.compare.results.forest import ForestRow, forest, signed
from boxwright.compare.results.results import METRICS, Comparison, RunResult
from boxwright.compare.results.verdict import what_moved
from boxwright.report.markup import Markup, details, section, table, text, write_document
from boxwright.text import plural

_SHOWN_ELSEWHERE = ("recommended", "left out", "command", "environment", "tier note", "test", "without detections")
_EQUAL = (
    "Seed by seed all arms had the same initial weights, as far as their shapes are the same, and the same order of "
    "images and augmentation draws; all made the same number of steps."
)
_MANY_CLASSES = 12
_SUMS = ("false_positive", "false_negative")  # totals over several kinds of error


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write the page, one file without a script, external links or anything to load; return its path."""
    facts = comparison.facts
    warnings = [facts["tier note"]] if facts.get("tier note") else []
    if failed := [run for run in comparison.runs if run.failed]:
        arms = ", ".join(dict.fromkeys(run.arm for run in failed))
        warnings.append(f"{len(failed)} of {plural(len(comparison.runs), 'run')} failed: {arms}.")
    warnings += [f"{run} has no detection in its predictions file." for run in facts.get("without detections", ())]
    warnings += [f"{arm} was left out: {why}." for arm, why in facts.get("left out", {}).items()]
    header = _answer(comparison) + "".join(f'<p class="warning">{text(warning)}</p>' for warning in warnings)
    sections = (
        section("Difference to the baseline", _differences(comparison)),
        section("Scores", _scores(comparison)),
        section("Class by class", _classes(comparison)),
        section("Where it comes from", _errors(comparison)),
        section("Test split", _test(comparison)),
        section("Time and memory", _costs(comparison)),
        section("What failed", _failed(comparison)),
        section("How the arms were compared", _facts(comparison)),
        section("Every run", _runs(comparison)),
        section("To do it again", _command(facts.get("command"))),
    )
    style = files("boxwright.compare").joinpath("compare.css").read_text(encoding="utf-8")
    footer = facts.get("environment", "")
    return write_document(Path(path), f"Comparison: {comparison.title}", header, sections, footer, style)


def _answer(comparison: Comparison) -> str:
    advice, findings = comparison.headline.advice, comparison.headline.findings
    rows = [
        f"<li>{', '.join(f'<b>{text(arm)}</b>' for arm in each.arms)}: {text(each.words)}</li>" for each in findings
    ]
    return f'<p class="answer">{text(advice)}</p>' + (f'<ul class="findings">{"".join(rows)}</ul>' if rows else "")


def _differences(comparison: Comparison) -> str:
    rows = [
        ForestRow(arm.name, comparison.differences.get(arm.name), _seed_differences(comparison, arm.name))
        for arm in comparison.arms
        if not arm.baseline
    ]
    found = list(comparison.differences.values())
    if not found:
        return ""
    note = (
        f"Difference in AP to {text(comparison.baseline.name)}. Disc: mean over the seeds, filled where it is told "
        f"from 0. Bar: interval; with {100 * found[0].level:g} % all of them hold together. Rings: the single seeds."
    )
    return f'<p class="dim">{note}</p>{forest(rows)}{details("Noise and p values", _noise(comparison))}'


def _noise(comparison: Comparison) -> Markup:
    rows = [
        (name, each.mean, each.seed_error, each.image_error, each.p) for name, each in comparison.differences.items()
    ]
    note = (
        "Standard errors of the mean difference: from training with other seeds, and from drawing other images. "
        "p is adjusted for the number of arms."
    )
    head = ("arm", "difference", "error: seeds", "error: images", "p")
    cells = [(name, signed(mean), *map(_score, rest)) for name, mean, *rest in rows]
    return Markup(f'<p class="dim">{note}</p>{table(head, cells, "tnnnn")}')


def _seed_differences(comparison: Comparison, arm: str) -> list[float]:
    baseline = {run.seed: run.metrics["AP"] for run in comparison.of_arm(comparison.baseline.name)}
    runs = comparison.of_arm(arm)
    return [run.metrics["AP"] - baseline[run.seed] for run in runs if run.seed in baseline]


def _scores(comparison: Comparison) -> Markup:
    rows = [
        (_arm_name(comparison, arm.name), *(_spread(*comparison.spread(arm.name, name)) for name in METRICS))
        for arm in comparison.arms
    ]
    note = '<p class="dim">On the validation split: mean ± standard deviation over the seeds.</p>'
    return Markup(note + table(("arm", *METRICS), rows, "t" + "n" * len(METRICS)))


def _classes(comparison: Comparison) -> Markup:
    """Show AP of each class, a column an arm."""
    names = list(dict.fromkeys(name for run in comparison.runs for name in run.per_class))
    if not names:
        return Markup()
    arms = [arm.name for arm in comparison.arms]
    runs = [comparison.of_arm(arm) for arm in arms]
    rows = [(name, *(_class_spread(of_arm, name) for of_arm in runs)) for name in names]
    shown = table(("AP", *arms), rows, "t" + "n" * len(arms))
    return details(f"All {len(names)} classes", shown) if len(names) > _MANY_CLASSES else shown


def _errors(comparison: Comparison) -> str:
    """Show AP50 lost to each kind of error by arm, and the kind that moved most where an arm is better or worse."""
    kinds = [
        kind for kind in dict.fromkeys(kind for run in comparison.runs for kind in run.errors) if kind not in _SUMS
    ]
    if not kinds:
        return ""
    lost = {
        arm.name: {kind: _mean(run.errors.get(kind, nan) for run in comparison.of_arm(arm.name)) for kind in kinds}
        for arm in comparison.arms
    }
    baseline = lost[comparison.baseline.name]
    sentences = [
        what_moved(name, each.verdict == "better", lost[name], baseline)
        for name, each in comparison.differences.items()
        if each.verdict != "no detectable difference"
    ]
    rows = [
        (
            _arm_name(comparison, name),
            *(_lost(values[kind], nan if values is baseline else baseline[kind]) for kind in kinds),
        )
        for name, values in lost.items()
    ]
    note = "AP50 that each kind of error costs, mean over the seeds, and in brackets the change from the baseline."
    words = "".join(f"<p>{text(sentence)}</p>" for sentence in sentences if sentence)
    return f'{words}<p class="dim">{note}</p>{table(("arm", *kinds), rows, "t" + "n" * len(kinds))}'


def _lost(value: float, baseline: float) -> Markup:
    change = f" <small>({signed(value - baseline)})</small>" if isfinite(value - baseline) else ""
    return Markup(_score(value) + change)


def _test(comparison: Comparison) -> str:
    test = comparison.facts.get("test")
    if not test:
        return ""
    note = f"{text(test['arm'])}, measured once; mean over the seeds."
    row = [_score(test["mean"][name]) for name in METRICS]
    return f'<p class="dim">{note}</p>{table(METRICS, [row], "n" * len(METRICS))}'


def _costs(comparison: Comparison) -> Markup:
    rows = []
    for arm in comparison.arms:
        costs, runs = comparison.costs(arm.name), comparison.of_arm(arm.name)
        cells = (
            _formatted(costs.get("seconds", nan) / 60, ".1f"),
            _formatted(costs.get("images_per_second", nan), ".1f"),
            _formatted(costs.get("peak_memory_mb", nan), ",.0f"),
            text([*dict.fromkeys(run.steps for run in runs)]),
        )
        rows.append((_arm_name(comparison, arm.name), *cells))
    note = '<p class="dim">Means over the runs of an arm.</p>'
    return Markup(note + table(("arm", "minutes a run", "images/s", "peak memory, MB", "steps"), rows, "tnnnn"))


def _failed(comparison: Comparison) -> str:
    rows = [(run.arm, run.seed, run.failed) for run in comparison.runs if run.failed]
    return table(("arm", "seed", "why"), rows, "tnt") if rows else ""


def _facts(comparison: Comparison) -> Markup:
    rows: list[tuple[str, Any]] = []
    for key, value in comparison.facts.items():
        if isinstance(value, Mapping) and key not in _SHOWN_ELSEWHERE:
            rows += [(f"{key}: {name}", item) for name, item in value.items()]
        elif key not in _SHOWN_ELSEWHERE and value != "":
            rows.append((key, value))
    settings = [(arm.name, arm.settings) for arm in comparison.arms]
    known = table(("", ""), rows, "ft") if rows else ""
    return details(
        "Same weights, images and steps for all",
        Markup(f'<p class="dim">{_EQUAL}</p>{known}{table(("arm", "settings"), settings, "tt")}'),
    )


def _runs(comparison: Comparison) -> Markup:
    runs = [run for run in comparison.runs if not run.failed]
    rows = [
        (
            run.arm,
            run.seed,
            *(_score(run.metrics.get(name, nan)) for name in METRICS),
            _formatted(run.seconds / 60, ".1f"),
        )
        for run in runs
    ]
    head = ("arm", "seed", *METRICS, "minutes")
    return details(plural(len(runs), "run"), table(head, rows, "t" + "n" * (len(head) - 1)))


def _command(command: str | None) -> str:
    return f"<pre>{text(command)}</pre>" if command else ""


def _arm_name(comparison: Comparison, name: str) -> Markup:
    baseline = ' <span class="d">baseline</span>' if name == comparison.baseline.name else ""
    return Markup(text(name) + baseline)


def _spread(mean: float, sd: float) -> Markup:
    return Markup(_score(mean) + (f" <small>± {sd:.3f}</small>" if isfinite(sd) else ""))


def _class_spread(runs: Sequence[RunResult], name: str) -> Markup:
    """Show a class's AP over the runs in which it is defined."""
    values = [run.per_class.get(name, {}).get("AP", nan) for run in runs]
    values = [value for value in values if isfinite(value)]
    return _spread(_mean(values), stdev(values) if len(values) > 1 else nan)


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not isnan(value)]
    return fmean(defined) if defined else nan


def _score(value: float) -> str:
    return _formatted(value, ".3f")


def _formatted(value: float, form: str) -> str:
    return "–" if isnan(value) else format(value, form)
