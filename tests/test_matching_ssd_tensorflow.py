"""SSD-Tensorflow's matching in its three edges, by hand and against its loop read target by target."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import anchors as named
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.boxes import box_area, box_iou, intersection
from boxwright.matching import match_iou, match_ssd_tf

GRID = make_anchors(AnchorSpec.squares(strides=(8, 16), scale=2.0), 48).boxes
TF = partial(match_iou, positive=0.5, negative=0.5, strict=True, force=None)  # the recipe's own


def test_an_iou_of_exactly_the_threshold_is_negative():
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6]])
    boxes, labels = torch.tensor([[[0.0, 0, 10, 10]]]), torch.zeros(1, 1, dtype=torch.int64)
    assert TF(anchors, boxes, labels).state.tolist() == [[1, -1, 1]]
    matches = match_ssd_tf(anchors, boxes, labels)
    assert matches.state.tolist() == [[1, 0, 1]]
    torch.testing.assert_close(matches.iou, torch.tensor([[1, 0.5, 0.6]]))


def test_no_annotation_leaves_negatives_and_its_comment_takes_positives_too():
    """Anchors of area 100: one is its object's, one lies under the box that isn't annotated, one under both."""
    anchors = torch.tensor([[0.0, 0, 10, 10], [40, 0, 50, 10], [20, 0, 30, 10], [60, 0, 70, 10], [80, 0, 90, 10]])
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 0, 30, 10], [20, 0, 55, 10], [60, 0, 70, 5]]])
    labels = torch.zeros(1, 4, dtype=torch.int64)
    ignore = torch.tensor([[False, False, True, True]])  # the last covers exactly half of an anchor
    assert TF(anchors, boxes, labels, ignore=ignore).state.tolist() == [[1, -1, 1, -1, 0]]
    assert match_ssd_tf(anchors, boxes, labels, ignore=ignore).state.tolist() == [[1, 0, 1, 0, 0]]
    block = match_ssd_tf(anchors, boxes, labels, ignore=ignore, no_annotation="ignore")
    assert block.state.tolist() == [[1, -1, -1, 0, 0]]


def loop(anchors, boxes, labels, ignore, commented):
    """An image's scores and indices, written target by target as in their while loop."""
    score, index = torch.zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64)
    for target, (box, label) in enumerate(zip(boxes, labels.tolist(), strict=True)):
        if label < 0:
            continue
        overlap = box_iou(box[None], anchors)[0]
        better = (overlap > score) & (score > -0.5) & ~ignore[target]
        score, index = torch.where(better, overlap, score), torch.where(better, target, index)
        if commented and ignore[target]:
            score = torch.where(intersection(box, anchors) / box_area(anchors) > 0.5, -1.0, score)
    return (score > 0.5).int() - (score < -0.5).int(), index


@settings(deadline=None, max_examples=60)
@given(
    shape=st.sampled_from([(1, 1), (2, 4), (3, 12)]),
    step=st.sampled_from([1e-3, 4.0]),
    commented=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_equals_their_loop(shape, step, commented, seed):
    generator = torch.Generator().manual_seed(seed)
    corners, sides = (torch.rand(*shape, 2, generator=generator) * 40 for _ in range(2))
    corners, sides = (corners / step).round() * step, (sides / step).round() * step + step
    boxes, labels = torch.cat([corners, corners + sides], -1), torch.randint(-1, 3, shape, generator=generator)
    ignore = torch.rand(shape, generator=generator) < 0.3
    rule = "ignore" if commented else "skip"
    matches = match_ssd_tf(GRID, boxes, labels, ignore=ignore, no_annotation=rule)
    for image in range(len(boxes)):
        state, index = loop(GRID, boxes[image], labels[image], ignore[image], commented)
        assert matches.state[image].tolist() == state.tolist()
        positive = state == 1
        assert torch.equal(matches.gt_index[image][positive], index[positive])


def test_is_the_recipes_matcher_away_from_its_edges():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 6, 2, generator=generator) * 200
    boxes = torch.cat([corners, corners + 20 + torch.rand(2, 6, 2, generator=generator) * 80], -1)
    anchors, labels = make_anchors(named.SSD300_TF, 300), torch.zeros(2, 6, dtype=torch.int64)
    assert (TF(anchors, boxes, labels).state == 1).any()
    for found, expected in zip(match_ssd_tf(anchors, boxes, labels), TF(anchors, boxes, labels), strict=True):
        assert torch.equal(found, expected)


def test_errors():
    with pytest.raises(ValueError, match="Expected no_annotation out of"):
        match_ssd_tf(GRID, torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), no_annotation="drop")
    with pytest.raises(ValueError, match="Expected negative <= positive"):
        match_ssd_tf(GRID, torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), threshold=-1)
