"""The tables of an evaluation on the terminal: the classes with their intervals, the protocol, the errors."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from rich.console import Console

from boxwright._util.printing import printable, say, say_table
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.evaluate import Interval, MetricsTable

_METRICS = ("AP", "AP50", "AP75")
_HEADER = ("class", "targets", *_METRICS, "best F1", "at score")
_ALL = "all classes"
_OTHERS = ("APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "voc07", "voc_area")


def render_metrics(table: MetricsTable, console: Console) -> None:
    """Print the classes, the other numbers, the protocol, the errors and the warnings.

    Where the console is no terminal the same goes out as plain lines of columns, unwrapped.
    """
    rows = [*_class_rows(table), _overall(table)]
    render_table(console, _HEADER, rows, ruled=len(rows) - 2)
    others = [f"{name} {number(table.numbers[name])}" for name in _OTHERS]
    for line in (*_sentences(table), ", ".join(others), table.protocol):
        say(console, line)
    if table.errors:
        errors = [(name.replace("_", " "), number(cost.dap), f"{cost.count}") for name, cost in table.errors.items()]
        say(console, "")
        ruled = next(place for place, row in enumerate(errors) if row[0] == "missed")
        render_table(console, ("error", "AP50 lost", "count"), errors, ruled=ruled)
    for warning in table.warnings:
        say(console, f"Warning: {warning}", "yellow")


def render_table(
    console: Console, header: tuple[str, ...], rows: list[tuple[str, ...]], *, ruled: int | None = None
) -> None:
    """Print a table, names to the left and numbers to the right, with a line below the row ``ruled``."""
    if console.is_terminal:
        say_table(console, header, rows, ruled=() if ruled is None else (ruled,))
        return
    cells = [tuple(map(printable, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, *others in cells:
        columns = (f"  {cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        say(console, f"{name:<{widths[0]}}" + "".join(columns))


def with_interval(value: float, interval: Interval | None) -> str:
    """``0.611 [0.570, 0.651]``; the number alone where the interval isn't known."""
    if interval is None or isnan(interval.low):
        return number(value)
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def number(value: float) -> str:
    """Three decimals, a dash for NaN."""
    return "-" if isnan(value) else f"{value:.3f}"


def _class_rows(table: MetricsTable) -> list[tuple[str, ...]]:
    rows = []
    half = table.matches.has_threshold(0.5)
    for name, values in table.per_class.items():
        intervals = table.class_intervals[name]
        scores = [with_interval(values[metric], intervals.get(metric)) for metric in _METRICS]
        point = table.operating_point(name) if half else None
        best = (number(point.f1), number(point.score)) if point else ("-", "-")
        rows.append((name, f"{values['targets']:.0f}", *scores, *best))
    return rows


def _overall(table: MetricsTable) -> tuple[str, ...]:
    targets = int(table.matches.positives[:, 0].sum())
    scores = [with_interval(table.numbers[metric], table.intervals.get(metric)) for metric in _METRICS]
    return (_ALL, f"{targets}", *scores, "", "")


def _sentences(table: MetricsTable) -> list[str]:
    """How sure AP is, in words."""
    from boxwright.evaluate.intervals import RELIABLE_IMAGES, images_with_targets

    images, interval = images_with_targets(table.matches), table.intervals["AP"]
    if isnan(interval.low):
        return []
    said = f"{plural(images, 'image')} with objects: AP is known to ±{interval.reach:.3f} (95 % interval)."
    if images < RELIABLE_IMAGES:
        said += f" With fewer than {RELIABLE_IMAGES} images the interval may hold in as few as 90 of 100 cases."
    return [said]
