"""Matching from a ready matrix: with the IoU of all pairs it is ``match_iou``, without boxes it is the rules alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.boxes import box_iou
from boxwright.matching import match_iou, match_quality

GRID = make_anchors(AnchorSpec.squares(strides=(8, 16), scale=2.0), 48).boxes  # 36 + 9 anchors
RULES = ["bipartite", "ties", "last", None]


@settings(deadline=None, max_examples=30)
@given(
    shape=st.sampled_from([(1, 1), (2, 3), (3, 12), (1, 60)]),
    step=st.sampled_from([1e-3, 1.0, 8.0]),  # the coarser, the more ties
    thresholds=st.sampled_from([(0.5, 0.5), (0.7, 0.3), (0.5, 0.0), (0.0, 0.0)]),
    strict=st.booleans(),
    seed=st.integers(0, 10**6),
)
@pytest.mark.parametrize("force", RULES)
def test_equals_match_iou_on_its_own_matrix(force, shape, step, thresholds, strict, seed):
    generator = torch.Generator().manual_seed(seed)
    corners, sides = (torch.rand(*shape, 2, generator=generator) * 40 for _ in range(2))
    corners, sides = (corners / step).round() * step, (sides / step).round() * step + step
    boxes, labels = torch.cat([corners, corners + sides], -1), torch.randint(-1, 3, shape, generator=generator)
    options = {"positive": thresholds[0], "negative": thresholds[1], "strict": strict, "force": force}
    expected = match_iou(GRID, boxes, labels, **options)
    found = match_quality(box_iou(boxes, GRID), labels, **options)
    # A target whose free anchors all overlap it by 0 takes the nearest there, and none here.
    placed = (expected.state == 1) & (expected.iou == 0) & (force == "bipartite")
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a[~placed], b[~placed])
    assert a.dtype == b.dtype
    if thresholds[0] > 0:
        assert (found.state[placed] <= 0).all()


def test_the_rules_on_a_matrix_written_by_hand():
    quality = torch.tensor([[[0.9, 0.8, 0.1, 0.0], [0.95, 0.2, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    labels = torch.tensor([[0, 1, 2]])
    # (1, 0) at .95 comes first, then (0, 1) at .8; nothing suits target 2, which stays without.
    assert match_quality(quality, labels).gt_index.tolist() == [[1, 0, 0, 0]]
    assert match_quality(quality, labels).state.tolist() == [[1, 1, 0, 0]]
    torch.testing.assert_close(match_quality(quality, labels).iou, torch.tensor([[0.95, 0.8, 0, 0]]))
    assert match_quality(quality, labels, force=None, negative=0.1).state.tolist() == [[1, 1, -1, 0]]
    assert match_quality(quality, labels, force="last").gt_index.tolist() == [[2, 0, 0, 0]]  # to the letter
    padded = match_quality(quality, torch.tensor([[0, -1, -1]]))
    assert padded.gt_index.tolist() == [[0, 0, 0, 0]]
    assert padded.state.tolist() == [[1, 1, 0, 0]]


def test_the_quality_may_exceed_1_and_carries_no_gradient():
    quality = torch.tensor([[[5.0, 2.0, 40.0]]], requires_grad=True)
    matches = match_quality(quality, torch.zeros(1, 1, dtype=torch.int64), positive=4, negative=3, force=None)
    assert matches.state.tolist() == [[1, 0, 1]]
    assert matches.iou.tolist() == [[5, 0, 40]]
    assert not matches.iou.requires_grad


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("force", RULES)
def test_nothing_to_match(force, shape):
    matches = match_quality(torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.int64), force=force)
    assert matches.state.shape == (shape[0], shape[2])
    assert not matches.state.any()


@pytest.mark.parametrize(
    ("quality", "labels", "options", "said"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3).long(), {}, r"Expected quality \(B, G, A\)"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 3).long(), {}, r"Expected quality \(B, G, A\)"),
        (torch.zeros(1, 2, 3).long(), torch.zeros(1, 2).long(), {}, "of floats"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 2), {}, "Expected labels int64"),
        (torch.tensor([[[0.5, -0.1]]]), torch.zeros(1, 1).long(), {}, "at image 0, box 0, anchor 1"),
        (torch.tensor([[[torch.nan]]]), torch.zeros(1, 1).long(), {}, "Expected quality in"),
        (torch.tensor([[[torch.inf]]]), torch.zeros(1, 1).long(), {}, "Expected quality in"),
        (torch.zeros(1, 1, 1), torch.zeros(1, 1).long(), {"negative": 0.7}, "Expected negative <= positive"),
        (torch.zeros(1, 1, 1), torch.zeros(1, 1).long(), {"force": "first"}, "Expected force"),
    ],
)
def test_wrong_values(quality, labels, options, said):
    with pytest.raises(ValueError, match=said):
        match_quality(quality, labels, **options)
