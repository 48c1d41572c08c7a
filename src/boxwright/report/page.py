"""The page itself: which section shows what, in the order in which people ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from boxwright.report.class_curves import class_curves
from boxwright.report.confusion import confusion
from boxwright.report.content import Ends, ReportData
from boxwright.report.curves import series_svg
from boxwright.report.errors import errors
from boxwright.report.history import read_history
from boxwright.report.markup import Markup, bar, details, figures, section, small_interval, table, text, write_document
from boxwright.report.pictures import pictures
from boxwright.report.reliability import reliability_diagram
from boxwright.text import plural

_HEADLINE = ("AP", "AP50", "AP75", "voc07")
_TITLES = {
    "voc07": "VOC07 mAP",
    "voc_area": "VOC area mAP",
    "targets": "objects",
    "F1": "best F1",
    "score": "at score",
}


def write_report(path: Path, data: ReportData, *, overwrite: bool = False) -> Path:
    """Write the page: one file without script, links to elsewhere or anything to load. Returns its path.

    Raises WriteError, also for a file that boxwright didn't write, unless it is to ``overwrite`` it.
    """
    sections = (
        _classes(data),
        _results(data),
        section("Errors", errors(data.errors, data.shown_score)),
        section("Confusions", _confusion(data)),
        section("Curves of the classes", class_curves(data.curves, _ap50(data), data.shown_score)),
        section("Are the scores probabilities?", _calibration(data)),
        _curves(data),
        section("Where it went wrong most", pictures(data.worst, data.classes)),
        section("Where it did best", pictures(data.best, data.classes)),
        section("A cross-section", pictures(data.pictures, data.classes)),
        _training(data),
        _data(data),
        section("Files", table(("", ""), data.files.items(), "fk") if data.files else Markup()),
    )
    summary = f"<p>{text(data.summary)}</p>" if data.summary else ""
    header = summary + _cards(data)
    return write_document(Path(path), data.title, header, sections, data.environment, overwrite=overwrite)


def _cards(data: ReportData) -> Markup:
    cards = "".join(
        f"<div><b>{_score(data.metrics[name])}</b><span>{text(_TITLES.get(name, name))}</span>"
        f"{small_interval(data.intervals.get(name))}</div>"
        for name in _HEADLINE
        if name in data.metrics
    )
    return Markup(f'<div class="cards">{cards}</div>' if cards else "")


def _results(data: ReportData) -> Markup:
    warnings = "".join(f'<p class="warning">{text(warning)}</p>' for warning in data.warnings)
    rows = [
        (
            _TITLES.get(name, name),
            _score(value),
            small_interval(data.intervals.get(name)),
            data.protocols.get(name, ""),
        )
        for name, value in data.metrics.items()
    ]
    head = ("metric", "value", "95 % interval", "protocol")
    folded = details(f"All {len(rows)} numbers and their protocols", table(head, rows, "tnnd")) if rows else ""
    return section("Results", warnings, folded)


def _classes(data: ReportData) -> Markup:
    if not data.per_class:
        return Markup()
    names = [
        name
        for name in ("AP", "AP50", "AP75", "F1", "score", "targets")
        if any(name in row for row in data.per_class.values())
    ]
    rows = [
        (
            label,
            *(
                _count(row, n) if n == "targets" else _class_score(n, row.get(n), data.class_intervals.get(label, {}))
                for n in names
            ),
        )
        for label, row in data.per_class.items()
    ]
    said = (
        '<p class="dim">In brackets the 95 % interval: how far other images of the same kind would move the number.</p>'
    )
    return section(
        "Class by class",
        said if data.class_intervals else "",
        table(("class", *(_TITLES.get(n, n) for n in names)), rows, "t" + "n" * len(names)),
    )


def _class_score(name: str, value: float | None, intervals: Mapping[str, Ends]) -> Markup:
    shown = bar(nan if value is None else value) if name == "AP" else _score(value)
    return Markup(shown + small_interval(intervals.get(name)))


def _count(row: Mapping[str, float], name: str) -> Markup:
    return text(int(row[name])) if name in row else text(None)


def _score(value: float | None) -> Markup:
    return text(None) if value is None or np.isnan(value) else Markup(f"{value:.3f}")


def _curves(data: ReportData) -> Markup:
    history = read_history(data.metrics_csv) if data.metrics_csv else None
    plots = []
    if history and history.losses:
        plots.append(("Losses", series_svg(history.losses, "step", "loss", smooth=True)))
    if history and history.scores:
        plots.append(("Average precision on validation", series_svg(history.scores, "epoch", "AP")))
    return section("Curves of the training", figures(plots))


def _ap50(data: ReportData) -> dict[str, float]:
    return {name: row["AP50"] for name, row in data.per_class.items() if "AP50" in row}


def _confusion(data: ReportData) -> Markup:
    return Markup() if data.confusion is None else confusion(data.confusion, data.classes, data.shown_score)


def _calibration(data: ReportData) -> Markup:
    if data.calibration is None:
        return Markup()
    return reliability_diagram(data.calibration, data.calibration_said)


def _training(data: ReportData) -> Markup:
    facts = table(("", ""), data.training.items(), "ft") if data.training else ""
    rows = [(key, value, data.recipe_notes.get(key, "")) for key, value in data.recipe.items()]
    recipe = details(f"Recipe: all {len(rows)} keys", table(("key", "value", ""), rows, "ktd")) if rows else ""
    return section("How it was trained", facts, _commands(data.commands), recipe)


def _commands(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    lines = "\n".join(text(command) for command in commands)
    return f'<p class="dim">To do it again:</p><pre>{lines}</pre>'


def _data(data: ReportData) -> Markup:
    special = ("classes", "findings", "splits")
    facts = [(key, value) for key, value in data.data.items() if key not in special]
    if splits := data.data.get("splits"):
        facts.append(("splits", {split["name"]: plural(split["images"], "image") for split in splits}))
    findings = data.data.get("findings", ())
    return section(
        "The data",
        table(("", ""), facts, "ft") if facts else "",
        _class_counts(data.data.get("classes", {})),
        _findings(findings) if "findings" in data.data else "",
    )


def _class_counts(classes: Mapping[str, Any]) -> str:
    """Boxes of each class, in all or by split."""
    if not classes:
        return ""
    splits = list(dict.fromkeys(s for counts in classes.values() if isinstance(counts, Mapping) for s in counts))
    if not splits:
        return table(("class", "boxes"), classes.items(), "tn")
    rows = [(name, *(counts.get(split, 0) for split in splits)) for name, counts in classes.items()]
    return table(("class", *splits), rows, "t" + "n" * len(splits))


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<p>The check found nothing to mend.</p>"
    counts = Counter((finding["severity"], finding["kind"]) for finding in findings)
    first = {(f["severity"], f["kind"]): f for f in reversed(findings)}
    rows = [
        (
            Markup(f'<span class="{"error" if severity == "error" else "caution"}">{text(severity)}</span>'),
            kind,
            count,
            _example(first[severity, kind]),
        )
        for (severity, kind), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1]))
    ]
    return table(("severity", "finding", "times", "for example"), rows, "ttnd")


def _example(finding: Mapping[str, Any]) -> str:
    return ": ".join(str(finding[key]) for key in ("file", "message") if finding.get(key))
