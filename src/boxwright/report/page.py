"""The page itself: which section shows what, in the order in which people ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from boxwright.report.class_curves import class_curves
from boxwright.report.classes import classes
from boxwright.report.confusion import confusion
from boxwright.report.content import ReportData
from boxwright.report.curves import series_svg
from boxwright.report.differences import comparison, slices
from boxwright.report.errors import errors
from boxwright.report.history import read_history
from boxwright.report.markup import Markup, details, figures, section, small_interval, table, text, write_document
from boxwright.report.opening import TITLES, opening, score
from boxwright.report.pictures import pictures
from boxwright.report.reliability import reliability_diagram
from boxwright.text import plural

_FEW = 6  # classes whose confusion matrix fits into half the page
_MANY = 20  # number of classes from which on their numbers of boxes are folded


def write_report(path: Path, data: ReportData, *, overwrite: bool = False) -> Path:
    """Write the page: one file that loads nothing and reads without its script, which sorts tables; return its path.

    Raises:
        WriteError: If it cannot be written, or boxwright did not write the old file and ``overwrite`` is False.
    """
    sections = (
        *(section(title, comparison(found)) for title, found in data.comparisons.items()),
        section("Class by class", classes(data)),
        section(f"By {data.sliced_by}", slices(data.slices)),
        section("What goes wrong", _mistakes(data)),
        section("Curves of the classes", class_curves(data.curves, _ap50(data), data.thresholds)),
        section("Are the scores probabilities?", _calibration(data)),
        section("Where it went wrong most", pictures(data.worst, data.classes)),
        section("Where it did best", pictures(data.best, data.classes)),
        section("A cross-section", pictures(data.pictures, data.classes)),
        _curves(data),
        _training(data),
        _data(data),
        section("All numbers and their protocols", _numbers(data)),
        section("Files", table(("", ""), data.files.items(), "fk") if data.files else Markup()),
        _script() if data.per_class else Markup(),
    )
    return write_document(Path(path), data.title, opening(data), sections, data.environment, overwrite=overwrite)


def _script() -> Markup:
    source = files("boxwright.report").joinpath("page.js").read_text(encoding="utf-8")
    return Markup(f"<script>{source}</script>")


def _numbers(data: ReportData) -> Markup:
    if not data.metrics:
        return Markup()
    rows = [
        (TITLES.get(name, name), score(value), small_interval(data.intervals.get(name)), data.protocols.get(name, ""))
        for name, value in data.metrics.items()
    ]
    shown = table(("metric", "value", "95 % interval", "protocol"), rows, "tnnd")
    return details(f"All {len(rows)} numbers", shown)


def _mistakes(data: ReportData) -> Markup:
    """Show errors and confusions of the same detections, side by side if the matrix is small."""
    parts = [f"<div><h3>What each kind of error costs</h3>{errors(data.errors)}</div>"] if data.errors else []
    if data.confusion is not None:
        matrix = confusion(data.confusion, data.classes)
        parts.append(f"<div><h3>Which class was taken for which</h3>{matrix}</div>")
    said = f'<p class="dim">{text(_agreement(data))}</p>' if parts else ""
    look = ' class="beside"' if len(data.classes) <= _FEW else ""
    return Markup(f"{said}<div{look}>{''.join(parts)}</div>" if parts else "")


def _agreement(data: ReportData) -> str:
    """Explain what both tables count, and why they do not count the same confusions."""
    said = [data.thresholds_said] if data.thresholds_said else []
    if data.confusion is None or not data.errors:
        return " ".join(said)
    counts = np.asarray(data.confusion, np.int64)
    right = int(np.trace(counts))
    false, missed = int(counts[:, :-1].sum()) - right, int(counts[:-1].sum()) - right
    said.append(
        f"Both tables count the same: {right:,} right, {false:,} false, {plural(missed, 'object')} not found (IoU 0.5)."
    )
    confused, classified = int(counts[:-1, :-1].sum()) - right, data.errors["classification"].count
    if confused != classified:
        said.append(
            f"{plural(confused, 'confusion')} in the matrix, {plural(classified, 'classification error')} in the "
            "table: the matrix gives an object to one detection, the table blames every false one."
        )
    return " ".join(said)


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


def _calibration(data: ReportData) -> Markup:
    if data.calibration is None:
        return Markup()
    return reliability_diagram(data.calibration, data.calibration_said)


def _training(data: ReportData) -> Markup:
    facts = table(("", ""), data.training.items(), "ft") if data.training else ""
    rows = [(key, value, data.recipe_notes.get(key, "")) for key, value in data.recipe.items()]
    recipe = details(f"Recipe: all {len(rows)} keys", table(("key", "value", ""), rows, "ktd")) if rows else ""
    said = f"<p>{text(data.trained)}</p>" if data.trained else ""
    return section("How it was trained", said, facts, _commands(data.commands), recipe)


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
    """Show boxes of each class, in total or by split; folded if there are many classes."""
    if not classes:
        return ""
    splits = list(dict.fromkeys(s for counts in classes.values() if isinstance(counts, Mapping) for s in counts))
    if splits:
        rows = [(name, *(counts.get(split, 0) for split in splits)) for name, counts in classes.items()]
        shown = table(("class", *splits), rows, "t" + "n" * len(splits))
    else:
        shown = table(("class", "boxes"), classes.items(), "tn")
    return details(f"Boxes of the {len(classes)} classes", shown) if len(classes) > _MANY else shown


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<p>The check found nothing to fix.</p>"
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
