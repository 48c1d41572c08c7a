from __future__ import annotations

import re

import numpy as np

from boxwright.report.confusion import confusion


def cells(page: str) -> list[list[str]]:
    """The words of each cell, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [[re.sub(r"<[^>]*>", " ", cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in rows]


def test_a_matrix_of_counts_and_shares() -> None:
    page = confusion([[6, 1, 1], [0, 1234, 0], [3, 1, 0]], ["cat", "<dog>"])
    assert cells(page) == [
        ["true \\ detected", "cat", "&lt;dog&gt;", "not detected"],
        ["cat", "6 75 %", "1 12 %", "1 12 %"],
        ["&lt;dog&gt;", "0", "1,234 100 %", "0"],
        ["background", "3 75 %", "1 25 %", ""],
    ]
    assert '<td class="hit" style="--share:0.750">' in page
    assert '<td style="--share:0.125">' in page


def test_nothing_detected_and_nothing_there() -> None:
    assert cells(confusion(np.zeros((2, 2)), ["a"]))[1:] == [["a", "0", "0"], ["background", "0", ""]]


def many() -> np.ndarray:
    """30 classes: 9 is taken for 1, and 2 for 7; 3 is missed, and background taken for 4."""
    matrix = np.zeros((31, 31), np.int64)
    np.fill_diagonal(matrix[:-1, :-1], 50)
    matrix[2, 7], matrix[9, 1], matrix[3, 30], matrix[30, 4] = 10, 40, 99, 98
    return matrix


def test_of_many_classes_the_matrix_has_those_that_are_confused() -> None:
    page = confusion(many(), [f"class {k}" for k in range(30)])
    head, *rows = cells(page)
    assert head[1:] == ["class 9", "class 1", "class 2", "class 7", "other classes", "not detected"]
    assert rows[0] == ["class 9", "50 56 %", "40 44 %", "0", "0", "0", "0"]
    assert rows[4] == ["other classes", "0", "0", "0", "0", "1,300 93 %", "99 7 %"]
    assert rows[5] == ["background", "0", "0", "0", "0", "98 100 %", ""]
    assert rows[6:] == [
        ["true class", "detected as", "times", "of its objects"],
        ["class 9", "class 1", "40", "44.4 %"],
        ["class 2", "class 7", "10", "16.7 %"],
    ]
    assert page.count("<td") < 60


def test_the_part_of_a_matrix_counts_what_the_whole_counts() -> None:
    matrix = np.random.default_rng(0).integers(0, 9, (31, 31))
    matrix[-1, -1] = 0
    rows = cells(confusion(matrix, [f"class {k}" for k in range(30)]))[1:13]
    assert sum(int(cell.split()[0].replace(",", "")) for row in rows for cell in row[1:] if cell) == matrix.sum()


def test_many_classes_of_which_none_is_taken_for_another() -> None:
    page = confusion(np.diag([*[3] * 30, 0]), [f"class {k}" for k in range(30)])
    assert page == "<p>None of the 30 classes is taken for another.</p>"


def test_a_matrix_can_be_reached_and_scrolled_by_keyboard() -> None:
    assert 'tabindex="0" role="region" aria-label="Confusion matrix"' in confusion(np.zeros((2, 2)), ["a"])
