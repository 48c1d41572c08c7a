"""TOOD's assignment against the rules read target by target."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.boxes import box_iou
from boxwright.matching import _common, match_iou, match_task_aligned
from boxwright.parts import matcher_info

ANCHORS = make_anchors(AnchorSpec.squares((8, 16)), 64)


def reference(boxes, labels, ignore, scores, predictions, top, alpha, beta):
    """One image: eq. 2 for each target, the best ``top``, then each anchor's conflicts by IoU."""
    centers = (ANCHORS.boxes[:, :2] + ANCHORS.boxes[:, 2:]) / 2
    iou = box_iou(boxes, predictions)
    wants = {}
    for g in range(len(labels)):
        if labels[g] < 0 or ignore[g]:
            continue
        metric = scores[:, labels[g]] ** alpha * iou[g] ** beta
        inside = ((centers > boxes[g, :2]) & (centers < boxes[g, 2:])).all(1) & (metric > 0)
        order = sorted(inside.nonzero().flatten().tolist(), key=lambda a: -metric[a].item())
        for a in order[:top]:
            if a not in wants or iou[g, a] > iou[wants[a], a]:
                wants[a] = g
    return wants


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 6),
    top=st.sampled_from([1, 3, 13]),
    powers=st.sampled_from([(1.0, 6.0), (0.5, 2.0), (0.0, 1.0)]),
    coarse=st.booleans(),
    block=st.sampled_from([1, 200, 1 << 18]),
)
def test_equals_the_rules_read_one_by_one(seed, count, top, powers, coarse, block):
    generator = torch.Generator().manual_seed(seed)
    corners, sides = (torch.rand(2, count, 2, generator=generator) * side for side in (50, 30))
    boxes = torch.cat([corners, corners + sides], -1)
    labels = torch.randint(-1, 3, (2, count), generator=generator)
    ignore = torch.rand(2, count, generator=generator) < 0.2
    scores = torch.rand(2, len(ANCHORS), 3, generator=generator)
    noise = torch.randn(2, len(ANCHORS), 4, generator=generator) * 4
    predictions = ANCHORS.boxes + noise
    if coarse:  # many ties
        scores, predictions = scores.round(decimals=1), (predictions / 8).round() * 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_common.BLOCK_ELEMENTS, "cpu", block)
        matches = match_task_aligned(
            ANCHORS, boxes, labels, scores=scores, predictions=predictions, top=top, alpha=powers[0], beta=powers[1],
            ignore=ignore, ignore_ioa=2.0,
        )  # fmt: skip
    for image in range(2):
        wants = reference(boxes[image], labels[image], ignore[image], scores[image], predictions[image], top, *powers)
        positive = (matches.state[image] == 1).nonzero().flatten().tolist()
        assert {a: int(matches.gt_index[image, a]) for a in positive} == wants
        own = box_iou(boxes[image], ANCHORS.boxes)
        assert all(matches.iou[image, a] == own[g, a] for a, g in wants.items())


def test_what_is_predicted_decides_and_not_the_anchor():
    boxes, labels = torch.tensor([[[8.0, 8.0, 56.0, 56.0]]]), torch.tensor([[1]])
    scores = torch.full((1, len(ANCHORS), 2), 0.5)
    predictions = ANCHORS.boxes[None].clone()
    predictions[0, 27] = boxes[0, 0]
    matches = match_task_aligned(ANCHORS, boxes, labels, scores=scores, predictions=predictions, top=1)
    assert matches.state[0].nonzero().flatten().tolist() == [27]
    scores[0, 27, 1] = 0  # sure that it is something else
    assert match_task_aligned(ANCHORS, boxes, labels, scores=scores, predictions=predictions, top=1).state[0, 27] == 0


def test_shapes_powers_and_no_targets():
    boxes, labels = torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64)
    scores, predictions = torch.zeros(2, len(ANCHORS), 3), torch.zeros(2, len(ANCHORS), 4)
    empty = match_task_aligned(ANCHORS, boxes, labels, scores=scores, predictions=predictions)
    assert not any(field.any() for field in empty)
    with pytest.raises(ValueError, match="Expected scores"):
        match_task_aligned(ANCHORS, boxes, labels, scores=scores[:, 1:], predictions=predictions)
    with pytest.raises(ValueError, match="Expected top >= 1"):
        match_task_aligned(ANCHORS, boxes, labels, scores=scores, predictions=predictions, top=0)
    assert "predictions" in matcher_info(partial(match_task_aligned, top=3)).needs
    assert not matcher_info(partial(match_iou, force=None)).needs


@pytest.mark.parametrize("side", range(4))
def test_a_center_on_the_edge_is_outside(side):
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    for edge, inside in ((4.9, True), (5.0, False)) if side < 2 else ((5.1, True), (5.0, False)):
        box = torch.tensor([0.0, 0.0, 10.0, 10.0])
        box[side] = edge
        matches = match_task_aligned(
            anchors, box[None, None], torch.tensor([[0]]), scores=torch.ones(1, 1, 1), predictions=anchors[None]
        )
        assert matches.state.item() == inside
