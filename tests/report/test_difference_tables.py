"""Slices and differences between sources, as they stand on the page."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from boxwright.report import Comparison
from boxwright.report.differences import comparison, slices
from boxwright.report.markup import signed, track
from html_tree import Tree

NAN = float("nan")


def difference(value: float, low: float = NAN, high: float = NAN, verdict: str = "no detectable difference"):
    return SimpleNamespace(value=value, low=low, high=high, p=0.04, verdict=verdict)


def test_slices_stand_by_their_score_those_without_one_last() -> None:
    parts = {
        "empty": SimpleNamespace(images=2, targets=0, AP=NAN, interval=(NAN, NAN), difference=difference(NAN)),
        "day": SimpleNamespace(images=9, targets=30, AP=0.7, interval=(0.6, 0.8), difference=difference(0.2, 0.1, 0.3)),
        "<night>": SimpleNamespace(
            images=9, targets=25, AP=0.5, interval=(0.4, 0.6), difference=difference(-0.2, -0.3, -0.1, "worse")
        ),
    }
    tree = Tree(slices(parts))
    assert tree.text.index("<night>") < tree.text.index("day") < tree.text.index("empty")
    assert "−0.200" in tree.text
    assert "[−0.300, −0.100]" in tree.text
    assert ("class", "worse") in tree.attributes
    assert slices({}) == ""


def test_what_has_a_verdict_is_shown_and_the_rest_folded() -> None:
    found = Comparison(
        [
            {"AP": difference(-0.01, -0.02, 0.0)},
            {"AP cat": difference(-0.1, -0.2, -0.05, "worse"), "AP dog": difference(0)},
        ],
        [("<a>.jpg", -0.02)],
    )
    shown, folded = comparison(found).split("<details>")
    assert "AP cat" in shown
    assert "AP dog" not in shown
    assert "1 rows" not in folded
    assert "1 row without a detectable difference" in folded
    assert "AP dog" in folded
    assert "&lt;a&gt;.jpg −0.020" in folded


def test_a_comparison_of_which_all_rows_say_something_folds_nothing() -> None:
    assert "<details>" not in comparison(Comparison([{"AP": difference(0.1, 0.05, 0.15, "better")}, {}, {}, {}]))


@pytest.mark.parametrize(
    ("low", "high", "left", "width"), [(-1, 1, 0, 100), (0, 1, 50, 50), (-0.5, 0.5, 25, 50), (0.2, 0.2, 60, 1)]
)
def test_an_interval_lies_on_a_track_around_zero(low: float, high: float, left: float, width: float) -> None:
    found = re.search(r"left:([\d.]+)%;width:([\d.]+)%", track(low, high, 1.0))
    assert found
    assert [float(share) for share in found.groups()] == [left, width]


def test_no_interval_without_ends_or_where_all_are_zero() -> None:
    assert track(NAN, NAN, 1.0) == track(0.0, 0.0, 0.0) == ""


@pytest.mark.parametrize(("value", "said"), [(0.0123, "+0.012"), (-0.5, "−0.500"), (-0.0004, "0.000"), (NAN, "–")])
def test_signs(value: float, said: str) -> None:
    assert signed(value) == said
