from __future__ import annotations

import re

import numpy as np

from boxwright.report.confusion import confusion


def cells(page: str) -> list[list[str]]:
    """The words of each cell, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [[re.sub(r"<[^>]*>", " ", cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in rows]


def test_a_matrix_of_counts_and_shares() -> None:
    page = confusion([[6, 1, 1], [0, 1234, 0], [3, 1, 0]], ["cat", "<dog>"], 0.25)
    assert cells(page) == [
        ["true \\ detected", "cat", "&lt;dog&gt;", "not detected"],
        ["cat", "6 75 %", "1 12 %", "1 12 %"],
        ["&lt;dog&gt;", "0", "1,234 100 %", "0"],
        ["background", "3 75 %", "1 25 %", ""],
    ]
    assert '<td class="hit" style="--share:0.750">' in page
    assert '<td style="--share:0.125">' in page
    assert "from score 0.25" in page


def test_nothing_detected_and_nothing_there() -> None:
    assert cells(confusion(np.zeros((2, 2)), ["a"], None))[1:] == [["a", "0", "0"], ["background", "0", ""]]


def test_of_many_classes_the_most_frequent_confusions_are_listed() -> None:
    matrix = np.zeros((31, 31), np.int64)
    np.fill_diagonal(matrix, 50)
    matrix[2, 7], matrix[9, 1], matrix[3, 30], matrix[30, 4] = 10, 40, 99, 99
    page = confusion(matrix, [f"class {k}" for k in range(30)], 0.3)
    assert cells(page)[1:] == [["class 9", "class 1", "40", "44.4 %"], ["class 2", "class 7", "10", "16.7 %"]]
    assert "With 30 classes, their 2 most frequent confusions are listed" in page
