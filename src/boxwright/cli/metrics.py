"""The tables of an evaluation on the terminal: the classes with their intervals, the protocol, the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isnan
from typing import TYPE_CHECKING

from rich.console import Console

from boxwright._util.printing import is_screen, printable, say, say_table
from boxwright.text import decimals

if TYPE_CHECKING:
    from boxwright.evaluate import Interval, MetricsTable, PairedComparison, PairedDifference, Slice

_METRICS = ("AP", "AP50", "AP75")
_HEADER = ("class", "targets", *_METRICS, "best F1", "at score")
_ALL = "all classes"
_MANY_CLASSES = 20
_MANY_SLICES = 8
_SLICED = (
    "less the rest: over the classes that slice and rest both have, with its own 95 % interval; p and verdict are "
    "corrected for the number of slices (Holm)."
)
_PAIRED = (
    "Intervals: 95 %, each by itself, all sources on the same draws of the images. p and verdict are corrected (Holm) "
    "for the number of sources, and within a source for that of its classes, sizes or kinds of error; of AP50 lost, "
    "less is better. What training with other seeds would give isn't in them: see boxwright compare."
)
_OTHERS = ("APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "voc07", "voc_area")


def render_metrics(table: MetricsTable, console: Console) -> None:
    """Print the classes, the other numbers, the protocol, the errors and the warnings.

    Where the console is no terminal the same goes out as plain lines of columns, unwrapped.
    """
    rows = [*_class_rows(table), _overall(table)]
    render_table(console, _HEADER, rows, ruled=[len(rows) - 2])
    others = [f"{name} {decimals(table.numbers[name])}" for name in _OTHERS]
    for line in filter(None, (table.certainty, ", ".join(others), table.protocol)):
        say(console, line)
    if table.calibration is not None and not isnan(table.calibration.ece):
        lowest = table.calibration.min_score
        shown = with_interval(table.calibration.ece, table.calibration.interval)
        say(console, f"calibration: scores from {lowest:g} up miss the share that is right by {shown}")
    if table.errors:
        errors = [(name.replace("_", " "), decimals(cost.dap), f"{cost.count}") for name, cost in table.errors.items()]
        say(console, "")
        ruled = next(place for place, row in enumerate(errors) if row[0] == "missed")
        render_table(console, ("error", "AP50 lost", "count"), errors, ruled=[ruled])
    for warning in table.warnings:
        say(console, f"Warning: {warning}", "yellow")


def render_differences(
    tables: Mapping[str, MetricsTable],
    comparisons: Mapping[str, PairedComparison],
    images: Sequence[str],
    console: Console,
) -> None:
    """Print the scores of each source, and the differences of all but the first to it.

    ``images``: the names of the data set's.
    """
    render_table(console, ("source", *_METRICS), [(name, *_scores(table)) for name, table in tables.items()])
    first = next(iter(tables))
    for name, found in comparisons.items():
        say(console, "")
        say(console, f"{name} less {first}", "bold")
        rows, ruled = _difference_rows(found)
        render_table(console, ("", "difference", "p", "verdict"), rows, ruled=ruled)
        parts = ", ".join(f"{images[place]} {_signed(part)}" for place, part in found.images)
        say(console, f"images that decide, and their part in the difference in AP: {parts or 'none'}")
    say(console, "")
    for line in (_PAIRED, next(iter(tables.values())).protocol):
        say(console, line)
    for name, table in tables.items():
        for warning in table.warnings:
            say(console, f"Warning: {name}: {warning}", "yellow")


def render_slices(slices: Mapping[str, Slice], rule: str, console: Console) -> None:
    """Print a row for each slice of the images, with its difference to the rest, and how good each class is in it."""
    rows = [
        (
            name,
            f"{each.images}",
            f"{each.targets}",
            with_interval(each.AP, each.interval),
            _difference(each.difference),
            decimals(each.difference.p),
            each.difference.verdict,
        )
        for name, each in slices.items()
    ]
    say(console, "")
    render_table(console, (f"by {rule}", "images", "targets", "AP", "less the rest", "p", "verdict"), rows)
    say(console, _SLICED)
    if len(slices) <= _MANY_SLICES:
        classes = next(iter(slices.values())).per_class
        cells = [(label, *(_class_cell(each.per_class[label]) for each in slices.values())) for label in classes]
        say(console, "")
        render_table(console, ("AP (targets)", *slices), cells)


def _class_cell(values: Mapping[str, float]) -> str:
    return f"{decimals(values['AP'])} ({values['targets']:.0f})"


def _difference_rows(found: PairedComparison) -> tuple[Sequence[Sequence[str]], Sequence[int]]:
    """Make the rows by family, and the last one of each; of many classes those with the smallest p."""
    by_class = found.by_class
    if len(by_class) > _MANY_CLASSES:
        order = sorted(by_class, key=lambda name: (by_class[name].p, -abs(by_class[name].value)))
        by_class = {name: by_class[name] for name in order[:_MANY_CLASSES]}
    families = (
        found.overall,
        {f"AP {name}": each for name, each in by_class.items()},
        found.by_size,
        {f"lost to {name.replace('_', ' ')}": each for name, each in found.by_error.items()},
    )
    rows = [
        (name, _difference(each), decimals(each.p), each.verdict) for rows in families for name, each in rows.items()
    ]
    return rows, tuple(place - 1 for place in accumulate(map(len, families)))


def _difference(found: PairedDifference) -> str:
    ends = "" if isnan(found.low) else f" [{_signed(found.low)}, {_signed(found.high)}]"
    return _signed(found.value) + ends


def _signed(value: float) -> str:
    return "-" if isnan(value) else f"{value:+.3f}" if abs(value) >= 5e-4 else "0.000"


def render_table(
    console: Console, header: Sequence[str], rows: Sequence[Sequence[str]], *, ruled: Sequence[int] = ()
) -> None:
    """Print a table, names to the left and numbers to the right, with a line below each row of ``ruled``."""
    if is_screen(console):
        say_table(console, header, rows, ruled=ruled)
        return
    cells = [tuple(map(printable, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, *others in cells:
        columns = (f"  {cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        say(console, f"{name:<{widths[0]}}" + "".join(columns))


def with_interval(value: float, interval: Interval | None) -> str:
    """Format ``0.611 [0.570, 0.651]``, or the number alone if the interval isn't known."""
    return decimals(value, *(interval or ()))


def _class_rows(table: MetricsTable) -> list[tuple[str, ...]]:
    rows = []
    half = table.matches.has_threshold(0.5)
    for name, values in table.per_class.items():
        intervals = table.class_intervals[name]
        scores = [with_interval(values[metric], intervals.get(metric)) for metric in _METRICS]
        point = table.operating_point(name) if half else None
        best = (decimals(point.f1), decimals(point.score)) if point else ("-", "-")
        rows.append((name, f"{values['targets']:.0f}", *scores, *best))
    return rows


def _overall(table: MetricsTable) -> tuple[str, ...]:
    targets = int(table.matches.positives[:, 0].sum())
    return (_ALL, f"{targets}", *_scores(table), "", "")


def _scores(table: MetricsTable) -> list[str]:
    return [with_interval(table.numbers[metric], table.intervals.get(metric)) for metric in _METRICS]
