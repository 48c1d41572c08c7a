"""What is advised for a supervision that leaves objects with few anchors."""

from __future__ import annotations

import numpy as np
import pytest
from inspect_builders import small_recipe

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.inspect import Suggestion, Supervision
from boxwright.inspect.advice import advice
from boxwright.inspect.coverage import Group
from boxwright.inspect.page import _classes
from boxwright.recipes import Recipe, get_recipe

ANCHORS = make_anchors(AnchorSpec.squares((8, 16), 4.0), 64)
NONE = Suggestion("", "")
BY_IOU = "iou:positive=0.5,negative=0.4,force=bipartite"


def objects(sides: list[float], positives: list[int], forced: bool = False) -> Supervision:
    """On 8 x 8 and 4 x 4 cells, anchors of 32 and 64 px."""
    count = len(sides)
    return Supervision(
        anchors=ANCHORS,
        image=np.arange(count),
        row=np.arange(count),
        label=np.zeros(count, np.int64),
        boxes=np.array([[0, 0, side, side] for side in sides], np.float32).reshape(-1, 4),
        best_iou=np.full(count, 0.4, np.float32),
        positives=np.array([[n, 0] for n in positives], np.int64).reshape(-1, 2),
        forced=np.full(count, forced),
        ignored=0,
    )


@pytest.mark.parametrize(
    ("found", "matcher", "words"),
    [
        (objects([], []), "atss", "Look at the labels"),
        (objects([40, 50], [3, 4]), "atss", "Nothing here asks for a change."),
        (objects([16] * 4, [0] * 4), "atss", "are small, 16 px in the median: show them larger, --set image_size=128"),
        (objects([1] * 4, [0] * 4), "atss", "--set image_size=128"),
        (objects([24] * 4, [0] * 4), "atss", "--set image_size=96"),
        (objects([200] * 4, [0] * 4), "atss", "are large, 200 px in the median: take larger anchors"),
        (objects([40] * 4, [0] * 4), "atss", "objects that lie on each other"),
        (objects([16], [0]), "iou:force=null", "--set matcher=iou:positive=0.5,negative=0.5,force=bipartite."),
        (objects([16], [1], True), BY_IOU, "a forced anchor alone are small, 16 px in the median: show them larger"),
        (objects([50], [1], True), BY_IOU, "--set matcher=iou:positive=0.4,negative=0.4,force=bipartite."),
    ],
)
def test_what_is_advised(found: Supervision, matcher: str, words: str) -> None:
    assert words in advice(found, small_recipe(matcher=matcher), NONE)


def test_anchors_that_grow_with_the_input_are_to_be_smaller() -> None:
    said = advice(objects([16], [1], True), get_recipe("ssd300"), NONE)
    assert said.endswith("16 px in the median: take smaller anchors.")


def test_the_first_stage_has_a_matcher_of_its_own() -> None:
    recipe: Recipe = get_recipe("faster-rcnn")
    said = advice(objects([50], [1], True), recipe.replace(matcher=recipe.rpn_matcher), NONE)
    assert "--set rpn_matcher=iou:positive=0.6,negative=0.3,force=ties" in said


def test_a_suggestion_is_pointed_to() -> None:
    assert "see Other anchors" in advice(objects([40], [1]), small_recipe(), Suggestion("anchors=shapes:...", ""))


def test_of_many_classes_the_worst_served_come_first_and_the_number_is_bounded() -> None:
    groups = [Group(f"class {i}", i % 7, 0.5, float(i), 0.0, float(i == 1900)) for i in range(2000)]
    table = _classes(groups)
    assert table.index("class 1900") < table.index("<details>") < table.index("class 1000")
    assert table.count("<tr>") == 1000 + 2
    assert "other classes, better served; 714 more left out" in table
