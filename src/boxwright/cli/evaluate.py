"""The tables that `boxwright eval` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from boxwright.evaluate import MetricsTable

_COLUMNS = ("AP", "AP50", "AP75", "AR100", "voc07", "voc_area")


def render_metrics(table: MetricsTable, console: Console) -> None:
    """Print the numbers with their protocols, the classes, the errors and the warnings.

    Where the console is no terminal the same goes out as plain lines of columns, unwrapped.
    """
    if console.is_terminal:
        _render_tables(table, console)
    else:
        for line in _plain_lines(table):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _render_tables(table: MetricsTable, console: Console) -> None:
    total = Table("metric", "value", "protocol", title="All classes", title_justify="left")
    total.columns[1].justify = "right"
    for name, value in table.numbers.items():
        total.add_row(name, _number(value), table.protocols[name], end_section=name in ("APl", "ARl"))
    classes = Table("class", "targets", *_COLUMNS, "best F1", "at score", title="By class", title_justify="left")
    for column in classes.columns[1:]:
        column.justify = "right"
    for name, *cells in _class_rows(table):
        classes.add_row(escape(name), *cells)
    errors = Table("error", "AP50 lost", "count", title="Errors", title_justify="left")
    for column in errors.columns[1:]:
        column.justify = "right"
    for name, *cells in _error_rows(table):
        errors.add_row(name, *cells, end_section=name == "missed")
    console.print(total, classes, *([errors] if table.errors else []))
    for warning in table.warnings:
        console.print(f"Warning: {warning}", style="yellow", markup=False, highlight=False)


def _plain_lines(table: MetricsTable) -> list[str]:
    lines = [f"{name:<8} {_number(value):>6}  {table.protocols[name]}" for name, value in table.numbers.items()]
    rows = [("class", "targets", *_COLUMNS, "best F1", "at score"), *_class_rows(table)]
    width = max(len(row[0]) for row in rows)
    lines += ["", *(f"{row[0]:<{width}}" + "".join(f" {cell:>8}" for cell in row[1:]) for row in rows)]
    if table.errors:
        rows = [("error", "AP50 lost", "count"), *_error_rows(table)]
        lines += ["", *(f"{name:<14} {lost:>9} {count:>8}" for name, lost, count in rows)]
    return lines + [f"Warning: {warning}" for warning in table.warnings]


def _class_rows(table: MetricsTable) -> list[tuple[str, ...]]:
    rows = []
    half = table.matches.has_threshold(0.5)
    for name, values in table.per_class.items():
        numbers = [_number(values[column]) for column in _COLUMNS]
        point = table.operating_point(name) if half else None
        best = (_number(point.f1), _number(point.score)) if point else ("-", "-")
        rows.append((name, f"{values['targets']:.0f}", *numbers, *best))
    return rows


def _error_rows(table: MetricsTable) -> list[tuple[str, ...]]:
    return [(name.replace("_", " "), _number(cost.dap), f"{cost.count}") for name, cost in table.errors.items()]


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
