"""The confusion matrix as a table: counts, shaded by their share of the row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxwright.report.markup import Markup, table, text

_MAX_CLASSES = 20  # of more classes the most frequent confusions are listed
_LISTED = 20


def confusion(matrix: ArrayLike, classes: Sequence[str], score: float | None) -> Markup:
    """The matrix of up to 20 classes, or the 20 most frequent confusions of more.

    Args:
        matrix: (K + 1, K + 1) counts, a row a true class, a column a detected one, background last.
        score: the one from which detections count, which is said.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    since = "" if score is None else f" from score {score:g}"
    said = f"Detections{since} against the truth, at IoU 0.5."
    if len(classes) > _MAX_CLASSES:
        return _listed(counts, classes, said)
    said += " A row is a true class; the shade is a number's share of its row."
    head = "".join(f'<th scope="col"><span>{text(name)}</span></th>' for name in (*classes, "not detected"))
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th>{_cells(row, place, len(classes))}</tr>'
        for place, (name, row) in enumerate(zip((*classes, "background"), counts, strict=True))
    )
    few = ' class="few"' if len(classes) <= 6 else ""
    corner = '<th scope="col">true \\ detected</th>'
    return Markup(
        f'<p class="dim">{text(said)}</p><div class="wide confusion"><table{few}><thead><tr>{corner}{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cells(row: NDArray[np.int64], place: int, background: int) -> str:
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


def _listed(counts: NDArray[np.int64], classes: Sequence[str], said: str) -> Markup:
    between = counts[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    order = np.argsort(-between, axis=None, kind="stable")[:_LISTED]
    places = [divmod(int(place), len(classes)) for place in order]
    rows = [
        (classes[true], classes[found], int(between[true, found]), between[true, found] / counts[true].sum())
        for true, found in places
        if between[true, found]
    ]
    said += f" With {len(classes)} classes, their {len(rows)} most frequent confusions are listed instead of a matrix."
    return Markup(
        f'<p class="dim">{text(said)}</p>'
        + table(
            ("true class", "detected as", "times", "of its objects"),
            [(true, found, count, f"{100 * share:.1f} %") for true, found, count, share in rows],
            "ttnn",
        )
    )
