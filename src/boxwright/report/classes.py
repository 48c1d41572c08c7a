"""Results by class: average precision with intervals, and precision and recall at the class's threshold."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan

from boxwright.report.content import Ends, ReportData
from boxwright.report.markup import Markup, bar, small_interval, table, text
from boxwright.report.opening import score

_AVERAGES = ("AP", "AP50", "AP75")
_HEADS = {"targets": "objects", "score": "from score"}
_COLUMNS = ("targets", *_AVERAGES, "score", "precision", "recall", "F1")


def classes(data: ReportData) -> Markup:
    """Show a row per class, the weakest first and those without objects last; nothing if there are no classes."""
    if not data.per_class:
        return Markup()
    names = [name for name in _COLUMNS if any(name in row for row in data.per_class.values())]
    order = sorted(data.per_class, key=lambda label: _rank(data.per_class[label]))
    rows = [
        (label, *(_cell(name, data.per_class[label], data.class_intervals.get(label, {})) for name in names))
        for label in order
    ]
    head = ("class", *(_HEADS.get(name, name) for name in names))
    rising = 1 + names.index("AP") if "AP" in names else None
    shown = table(head, rows, "t" + "n" * len(names), "stacked sortable classes", rising=rising)
    return Markup(_said(data) + shown)


def _rank(row: Mapping[str, float]) -> tuple[bool, float]:
    ap = row.get("AP", nan)
    return isnan(ap), 0.0 if isnan(ap) else ap


def _cell(name: str, row: Mapping[str, float], intervals: Mapping[str, Ends]) -> Markup:
    value = row.get(name)
    if name == "targets":
        return text(None if value is None else int(value))
    if name not in _AVERAGES:
        return score(value)
    shown = bar(nan if value is None else value) if name == "AP" else score(value)
    return Markup(shown + small_interval(intervals.get(name)))


def _said(data: ReportData) -> str:
    sentences = ["The weakest first."] if len(data.per_class) > 1 else []
    if any(not isnan(low) for row in data.class_intervals.values() for low, _ in row.values()):
        sentences.append("In brackets 95 % intervals: how far other images of the same kind would move the number.")
    if any("precision" in row for row in data.per_class.values()):
        sentences.append("Precision, recall and F1 (IoU 0.5) are those of the detections from the score beside them.")
    return f'<p class="dim">{text(" ".join(sentences))}</p>' if sentences else ""
