"""The confusion matrix as a table: counts, shaded by their share of the row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxwright.report.markup import Markup, table, text

Counts = NDArray[np.int64]

_MAX_CLASSES = 20  # with more, the matrix shows those that are confused most
_SHOWN = 10  # number of classes that it then shows
_LISTED = 20  # confusions listed below it


def confusion(matrix: ArrayLike, classes: Sequence[str]) -> Markup:
    """Show the matrix of up to 20 classes; with more, the part with the classes confused most, and a list.

    ``matrix``: (K + 1, K + 1) counts, rows are true classes, columns detected ones, background last.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    said = "A row is a true class, a column a detected one; the shade is a number's share of its row."
    if len(classes) <= _MAX_CLASSES:
        rows, columns = (*classes, "background"), (*classes, "not detected")
        return Markup(f'<p class="dim">{text(said)}</p>{_grid(counts, rows, columns)}')
    between = counts[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    pairs = _most_confused(between)
    if not pairs:
        return Markup(f"<p>None of the {len(classes)} classes is taken for another.</p>")
    chosen = list(dict.fromkeys(label for pair in pairs for label in pair))[:_SHOWN]
    names = [classes[label] for label in chosen]
    said += f" Of the {len(classes)} classes these are confused most; the others stand together."
    rows, columns = (*names, "other classes", "background"), (*names, "other classes", "not detected")
    grid = _grid(_merged(counts, chosen), rows, columns)
    return Markup(f'<p class="dim">{text(said)}</p><div class="pair">{grid}{_list(counts, pairs, classes)}</div>')


def _most_confused(between: Counts) -> list[tuple[int, int]]:
    """List (true, detected) of the most frequent confusions."""
    order = np.argsort(-between, axis=None, kind="stable")[:_LISTED]
    pairs = [divmod(int(place), len(between)) for place in order]
    return [pair for pair in pairs if between[pair]]


def _merged(counts: Counts, chosen: Sequence[int]) -> Counts:
    """Merge counts into the chosen classes, all others as one, and background."""
    groups = np.full(len(counts), len(chosen))
    groups[list(chosen)], groups[-1] = np.arange(len(chosen)), len(chosen) + 1
    merged = np.zeros((len(chosen) + 2, len(chosen) + 2), np.int64)
    np.add.at(merged, (groups[:, None], groups[None, :]), counts)
    return merged


def _grid(counts: Counts, rows: Sequence[str], columns: Sequence[str]) -> Markup:
    head = "".join(f'<th scope="col"><span>{text(name)}</span></th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th>{_cells(row, place, len(rows) - 1)}</tr>'
        for place, (name, row) in enumerate(zip(rows, counts, strict=True))
    )
    few = ' class="few"' if len(rows) <= 7 else ""
    corner = '<th scope="col">true \\ detected</th>'
    return Markup(
        '<div class="wide confusion" tabindex="0" role="region" aria-label="Confusion matrix">'
        f"<table{few}><thead><tr>{corner}{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Counts, place: int, background: int) -> str:
    total = max(int(row.sum()), 1)
    cells = []
    for column, count in enumerate(row.tolist()):
        if place == column == background:
            cells.append("<td></td>")
            continue
        kind = ' class="none"' if not count else ' class="hit"' if place == column else ""
        share = f"<small>{100 * count / total:.0f} %</small>" if count else ""
        cells.append(f'<td{kind} style="--share:{count / total:.3f}">{count:,}{share}</td>')
    return "".join(cells)


def _list(counts: Counts, pairs: Sequence[tuple[int, int]], classes: Sequence[str]) -> Markup:
    objects = counts.sum(axis=1)
    rows = [
        (classes[true], classes[found], int(counts[true, found]), f"{100 * counts[true, found] / objects[true]:.1f} %")
        for true, found in pairs
    ]
    return table(("true class", "detected as", "times", "of its objects"), rows, "ttnn", "stacked")
