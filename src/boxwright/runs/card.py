"""The model card of a run: a README.md for the Hugging Face Hub, out of what the run's files say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boxwright._util.ownership import MADE_BY
from boxwright._util.printing import printable
from boxwright.own_code import own_modules
from boxwright.runs.figures import Figures, read_figures
from boxwright.runs.hub import HubAddress
from boxwright.runs.origins import start_of
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.recipes import Recipe
    from boxwright.runs.run import Run

_MARKUP = re.compile(r"([\\`*_\[\]#|~$])")
_FEW_OBJECTS = 30  # of a class in a test: its AP is then a rough guess
_MANY_LOST = 0.02  # AP50 that a kind of error costs, from which it is named among the limits


def model_card(run: Run, address: HubAddress, license: str | None = None) -> str:
    """Write the card of a run as Markdown: what it finds, how to load it, its data, how good it is, limits, licenses.

    ``license``: of the model, as the Hub's identifiers have it (apache-2.0). Raises RecipeError for damaged files.
    """
    recipe, record, figures = run.recipe, run.record, read_figures(run)
    sections = (
        [f"<!-- {MADE_BY} -->", f"# {_plain(address.name)}", "", _intro(recipe)],
        _usage(address, recipe),
        _data(recipe.classes, record),
        _training(record),
        _quality(run, figures),
        _limits(figures),
        _licenses(run, recipe, license),
    )
    return (
        _header(address, recipe, figures, license) + "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"
    )


def _header(address: HubAddress, recipe: Recipe, figures: Sequence[Figures], license: str | None) -> str:
    import yaml

    content: dict[str, Any] = {} if license is None else {"license": license}
    content |= {"library_name": "boxwright", "pipeline_tag": "object-detection"}
    content["tags"] = ["boxwright", "object-detection", printable(recipe.detector)]
    results = [
        {
            "task": {"type": "object-detection"},
            "dataset": {"name": printable(each["data"]), "type": "custom", "split": printable(each["split"])},
            "metrics": [
                {"type": name, "value": round(value, 4)}
                for name in ("AP", "AP50", "AP75")
                if (value := each["metrics"][name]) is not None
            ],
        }
        for each in figures
    ]
    results = [each for each in results if each["metrics"]]
    if results:
        content["model-index"] = [{"name": address.name, "results": results}]
    return f"---\n{yaml.safe_dump(content, allow_unicode=True, sort_keys=False)}---\n"


def _intro(recipe: Recipe) -> str:
    names = ", ".join(_plain(name) for name in recipe.classes)
    size = f"{recipe.image_size} px" + ("" if recipe.resize == "shortest" else " square")
    return (
        f"An object detector for {plural(len(recipe.classes), 'class')}: {names}. Trained with boxwright's recipe "
        f"{_plain(recipe.detector)}, on the backbone {_plain(recipe.backbone)}; input {size} ({recipe.resize})."
    )


def _usage(address: HubAddress, recipe: Recipe) -> list[str]:
    modules = own_modules(recipe.to_dict())
    allowed = "".join(f" --allow-code {name}" for name in modules)
    argument = f", allow_code={modules!r}" if modules else ""
    lines = ["## Use", "", "```", f"boxwright predict {address} photo.jpg{allowed}", "```", "", "```python"]
    lines += ["import boxwright as bw", "", f'detector = bw.load("{address}"{argument})']
    lines += ['boxes, scores, labels = detector.predict(["photo.jpg"])[0]', "```"]
    if modules:
        lines += [
            "",
            f"The modules {', '.join(map(_plain, modules))}, which the recipe names, are not in this repository.",
        ]
    return lines


def _data(classes: Sequence[str], record: Mapping[str, Any]) -> list[str]:
    """List the classes, with their boxes by split where known."""
    data, fingerprint = record["data"], record["origin"].get("fingerprint")
    lines = ["## Data and classes", ""]
    if not data:
        return [*lines, "What it was trained on isn't known here.", "", *(f"- {_plain(name)}" for name in classes)]
    splits = [split["name"] for split in data.get("splits", ())]
    counts = data.get("classes", {})
    findings = [finding["severity"] for finding in data.get("findings", ())]
    lines.append(
        f"{plural(data.get('images', 0), 'image')}, {plural(data.get('boxes', 0), 'box')}; the check found "
        f"{plural(findings.count('error'), 'error')} (those boxes and files were left out) and "
        f"{plural(findings.count('warning'), 'warning')}."
    )
    lines += [f"Fingerprint of the data: {fingerprint}."] if fingerprint else []
    if not splits:
        rows = [[_plain(name), str(counts.get(name, 0))] for name in classes]
        return [*lines, "", *_table(["class", "boxes"], rows)]
    by_split = [[_plain(name), *(_count(counts.get(name), split) for split in splits)] for name in classes]
    return [*lines, "", *_table(["class", *map(_plain, splits)], by_split)]


def _count(found: Any, split: str) -> str:
    return str(found.get(split, 0) if isinstance(found, dict) else 0)


def _training(record: Mapping[str, Any]) -> list[str]:
    training, environment = record["training"], record.get("environment", {})
    if "steps" not in training:
        return []
    said = f"{plural(training['images'], 'image')} of split {_plain(training['split'])}, "
    said += f"{training['steps']:,} steps, {training['minutes of steps']:.0f} minutes on {_plain(training['device'])}"
    said += "".join(f", {key} {_plain(str(training[key]))}" for key in ("batch size", "seed") if key in training)
    versions = ", ".join(f"{name} {environment[name]}" for name in ("boxwright", "torch") if environment.get(name))
    return ["## Training", "", f"{said}{f' ({_plain(versions)})' if versions else ''}. Every choice is in recipe.yaml."]


def _quality(run: Run, figures: Sequence[Figures]) -> list[str]:
    lines = ["## How good it is", ""]
    for each in figures:
        lines += [*_scores(each, _seen(each["split"], run.record)), ""]
    if not figures:
        lines += ["It hasn't been measured on a test split.", ""]
    thresholds = run.thresholds
    if thresholds is not None and thresholds.images:
        where = f"split {_plain(thresholds.split)} ({plural(thresholds.images, 'image')}"
        where += f"{_seen(thresholds.split, run.record)})"
        lines.append(f"Predictions are kept above each class's score of the best F1 at IoU 0.5 on {where}:")
        rows = [
            [_plain(name), f"{each.score:.3f}", _three(each.precision), _three(each.recall), str(each.objects)]
            for name, each in thresholds.classes.items()
        ]
        lines += ["", *_table(["class", "score", "precision", "recall", "objects"], rows)]
    return lines[:-1] if lines[-1] == "" else lines


def _seen(split: str, record: Mapping[str, Any]) -> str:
    """Words on a split whose images it was trained on; none on others."""
    trained = record["training"].get("split")
    own = split == trained or (trained == "trainval" and split in ("train", "val"))
    return ", which it was trained on" if own else ""


def _scores(figures: Figures, seen: str) -> Iterator[str]:
    metrics = figures["metrics"]
    how = f", {_plain(' '.join(figures['options']))}" if figures["options"] else ""
    where = f"{_plain(figures['data'])}, split {_plain(figures['split'])}"
    yield f"**{where}** ({plural(figures['images'], 'image')}{how}{seen}):"
    yield ""
    names = ("AP", "AP50", "AP75")
    intervals = metrics["intervals"].get("per_class", {})
    rows = [
        [_plain(name), str(row["targets"]), *(_score(row, intervals.get(name, {}), metric) for metric in names)]
        for name, row in metrics["per_class"].items()
    ]
    total = str(sum(row["targets"] for row in metrics["per_class"].values()))
    rows.append(["**all**", total, *(_score(metrics, metrics["intervals"], metric) for metric in names)])
    yield from _table(["class", "objects", *names], rows)
    yield ""
    yield f"In brackets: 95 % intervals over images. {_plain(figures['certainty'])}"
    yield f"Protocol: {_plain(figures['protocol'].rstrip('.'))}."
    if metrics["errors"]:
        yield ""
        rows = [[_plain(name.replace("_", " ")), _three(cost["dAP"])] for name, cost in metrics["errors"].items()]
        yield from _table(["kind of error", "AP50 that it costs"], rows)


def _limits(figures: Sequence[Figures]) -> list[str]:
    """List what limits the figures, and what they don't measure."""
    lines = ["## Limits", ""]
    for each in figures[:1]:
        metrics = each["metrics"]
        scores = {name: row["AP"] for name, row in metrics["per_class"].items() if row["AP"] is not None}
        if len(scores) > 1:
            weakest = min(scores, key=lambda name: scores[name] or 0)
            lines.append(f"- Weakest on {_plain(weakest)}: AP {scores[weakest]:.3f}.")
        few = [name for name, row in metrics["per_class"].items() if row["targets"] < _FEW_OBJECTS]
        if few:
            lines.append(f"- Measured on fewer than {_FEW_OBJECTS} objects: {', '.join(map(_plain, few))}.")
        kinds = {name: cost["dAP"] for name, cost in metrics["errors"].items() if not name.startswith("false")}
        worst = max(kinds, key=lambda name: kinds[name] or 0, default="")
        if (kinds.get(worst) or 0) >= _MANY_LOST:
            lines.append(f"- Most is lost to errors of the kind {_plain(worst)}.")
    lines.append("- How it does on images of another kind than those above isn't known.")
    lines.append("- Scores rank detections; they are no probabilities.")
    return lines


def _licenses(run: Run, recipe: Recipe, license: str | None) -> list[str]:
    lines = ["## Licenses", ""]
    lines.append(f"- This model: {_plain(license)}." if license else "- This model: its author hasn't said one.")
    start = start_of(run)
    if start.get("origin"):
        said = [_plain(start["origin"])]
        said += [f"license {_plain(start['license'])}"] if start["license"] else []
        lines.append(f"- The weights it started from: {', '.join(said)}.")
    elif recipe.pretrained:
        whose = _plain(recipe.backbone) if recipe.pretrained is True else "a file of its author's"
        lines.append(f"- The backbone's pretrained weights ({whose}): license {start['license'] or 'not known here'}.")
    lines.append("- boxwright, which loads it: Apache-2.0.")
    lines.append("- The images that it was trained on have terms of their own.")
    return lines


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    names = list(header)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _score(row: Mapping[str, Any], intervals: Mapping[str, Any], metric: str) -> str:
    value = row[metric]
    low, high = intervals.get(metric) or (None, None)
    return _three(value) if low is None or high is None else f"{_three(value)} [{low:.3f}, {high:.3f}]"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", safe)
