"""Groups, curves and the one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.inspect import Supervision, coverage_curve
from boxwright.inspect.coverage import by_class, by_coco_size, by_level, by_side, headline

ANCHORS = make_anchors(AnchorSpec.squares((8, 16), 4.0), 64)


def objects(sides: list[float], positives: list[list[int]], forced: list[bool] | None = None) -> Supervision:
    count = len(sides)
    boxes = np.array([[0, 0, side, side] for side in sides], np.float32).reshape(-1, 4)
    return Supervision(
        anchors=ANCHORS,
        image=np.arange(count),
        row=np.arange(count),
        label=np.arange(count) % 2,
        boxes=boxes,
        best_iou=np.full(count, 0.6, np.float32),
        positives=np.array(positives, np.int64).reshape(-1, 2),
        forced=np.array(forced or [False] * count),
        ignored=0,
    )


FOUR = objects([20, 40, 60, 100], [[1, 0], [2, 1], [0, 3], [0, 0]], [True, False, False, False])


def test_sizes_are_coco_s_after_the_resize() -> None:
    groups = {g.name: g for g in by_coco_size(FOUR)}
    assert {name: g.objects for name, g in groups.items()} == {"all": 4, "small": 1, "medium": 2, "large": 1}
    assert groups["all"].positives == pytest.approx(7 / 4)
    assert groups["all"].unmatched == 0.25
    assert groups["small"].forced == 1
    assert groups["medium"].positives == 3


def test_a_limit_belongs_to_the_larger_size() -> None:
    counts = [g.objects for g in by_coco_size(objects([32, 96], [[1, 0]] * 2))]
    assert counts == [2, 0, 1, 1]


def test_half_octaves_hold_all_objects() -> None:
    groups = by_side(FOUR)
    assert [g.name for g in groups] == ["16 to 23 px", "32 to 45 px", "45 to 64 px", "91 to 128 px"]
    assert by_side(objects([], [])) == []


def test_by_class_and_by_level() -> None:
    assert [(g.name, g.objects) for g in by_class(FOUR, ("a", "b", "c"))] == [("a", 2), ("b", 2), ("c", 0)]
    fine, coarse = by_level(FOUR)
    assert (fine.positives, fine.objects, fine.anchors, fine.shapes) == (3, 2, 64, ((32.0, 32.0),))
    assert (coarse.positives, coarse.objects, coarse.stride) == (4, 2, 16)


@given(st.lists(st.floats(0, 1, width=32), max_size=30))
def test_a_curve_is_the_share_that_reaches_each_threshold(ious: list[float]) -> None:
    values = np.array(ious, np.float32)
    thresholds, shares = coverage_curve(values)
    assert len(thresholds) == 101
    for threshold, share in zip(thresholds, shares, strict=True):
        expected = sum(iou >= np.float32(threshold) for iou in values) / len(values) if len(values) else 1
        assert share == pytest.approx(expected)


def test_the_line_says_the_worst_first() -> None:
    assert headline(FOUR) == (
        "25 % of your objects have no anchor at all: nothing teaches the detector to find them; 25 % have nothing but "
        "a forced anchor below the threshold; 25 % are smaller than any anchor (32 px); 25 % are larger than any "
        "anchor (64 px). Anchors: 1.8 an object on average, median best IoU 0.60."
    )


def test_the_line_says_that_all_is_well() -> None:
    assert headline(objects([40] * 3, [[2, 1]] * 3)) == (
        "Every object has anchors: 3.0 an object on average, median best IoU 0.60."
    )
    assert headline(objects([20] + [40] * 3, [[2, 1]] * 4)) == (
        "Every object has anchors: 3.0 an object on average, median best IoU 0.60; 25 % are smaller than any anchor "
        "(32 px)."
    )


def test_few_without_anchor_are_counted() -> None:
    many = objects([40] * 200, [[1, 1]] * 199 + [[0, 0]])
    assert headline(many).startswith("All of your objects but 1 have anchors: 2.0 an object")


def test_no_objects() -> None:
    assert headline(objects([], [])) == "There are no objects to match."
    assert headline(replace(FOUR, forced=np.zeros(4, bool))).startswith("25 % of your objects have no anchor")
