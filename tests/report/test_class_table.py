"""The table of the classes: its order, what stands in it, and what is said above it."""

from __future__ import annotations

import re

from boxwright.report import ReportData
from boxwright.report.classes import classes

NAN = float("nan")


def rows(page: str) -> list[list[str]]:
    found = re.findall(r"<tr>(.*?)</tr>", page)
    return [[re.sub(r"<[^>]*>", " ", cell).split() for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in found]


def test_the_weakest_stand_first_and_those_without_objects_last() -> None:
    per_class = {
        "none": {"AP": NAN, "targets": 0, "score": 0.3},
        "good": {"AP": 0.9, "targets": 4, "score": 0.5, "precision": 1.0, "recall": 0.75, "F1": 6 / 7},
        "bad <b>": {"AP": 0.0, "targets": 1200, "score": 0.3},
    }
    head, *body = rows(classes(ReportData("t", list(per_class), per_class=per_class, thresholds={"good": 0.5})))
    assert [" ".join(cell) for cell in head] == [
        "class", "objects", "AP", "from score", "precision", "recall", "F1",
    ]  # fmt: skip
    assert [row[0] for row in body] == [["bad", "&lt;b&gt;"], ["good"], ["none"]]
    assert [cell[0] for cell in body[0][1:]] == ["1,200", "0.000", "0.300", "–", "–", "–"]
    assert [cell[0] for cell in body[1][1:]] == ["4", "0.900", "0.500", "1.000", "0.750", "0.857"]


def test_each_cell_tells_its_head_and_the_order_is_told() -> None:
    page = classes(ReportData("t", ["a"], per_class={"a": {"AP": 0.5, "targets": 2}}))
    assert page.count('data-name="AP"') == 1
    assert '<th class="n" scope="col" aria-sort="ascending">AP</th>' in page
    assert "weakest" not in page


def test_without_precision_none_is_explained() -> None:
    data = ReportData("t", ["a"], per_class={"a": {"AP": 0.0, "targets": 2, "score": 0.3}}, thresholds={"a": 0.3})
    assert "Precision" not in classes(data)
    assert classes(ReportData("t", ["a"])) == ""


def test_brackets_are_explained_where_there_are_any() -> None:
    rows = {"a": {"AP": 0.5}}
    assert "In brackets" in classes(ReportData("t", ["a"], per_class=rows, class_intervals={"a": {"AP": (0.4, 0.6)}}))
    assert "In brackets" not in classes(
        ReportData("t", ["a"], per_class=rows, class_intervals={"a": {"AP": (NAN, NAN)}})
    )
