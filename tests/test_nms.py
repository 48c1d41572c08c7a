"""Golden results: torchvision's batched_nms (tv), and greedy suppression in plain loops."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.boxes import box_iou
from boxwright.nms import batched_nms, vote_boxes

GOLDEN = np.load(Path(__file__).parent / "golden" / "nms.npz")
BOXES, SCORES, CLASSES = (torch.from_numpy(GOLDEN[key]) for key in ("boxes", "scores", "classes"))


def greedy(boxes, scores, labels, threshold, kind):
    overlap = box_iou(boxes, boxes, kind)
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):  # stable: the lower index first
        if all(labels[i] != labels[k] or overlap[k, i] <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("kind", ["iou", "diou"])
def test_keeps_by_falling_score_within_classes(kind):
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]]).float()
    scores = torch.tensor([0.5, 0.9, 0.4, 0.95])
    assert batched_nms(boxes, scores, torch.tensor([0, 0, 1, 0]), 0.5, kind).tolist() == [3, 1, 2]
    assert batched_nms(boxes[:0], scores[:0], scores[:0].long(), 0.5, kind).tolist() == []


@pytest.mark.parametrize("threshold", GOLDEN["thresholds"].tolist())
def test_golden(threshold):
    one_class = torch.zeros_like(CLASSES)
    for labels, kind, key in [
        (one_class, "iou", "greedy"),
        (CLASSES, "iou", "tv_batched"),
        (one_class, "diou", "diou_nms"),
    ]:
        kept = batched_nms(BOXES, SCORES, labels, threshold, kind)
        assert kept.tolist() == GOLDEN[f"{key}_{threshold:g}"].tolist()


def test_golden_many_boxes():
    boxes, scores, labels = (torch.from_numpy(GOLDEN[f"big_{key}"]) for key in ("boxes", "scores", "classes"))
    assert batched_nms(boxes, scores, labels).tolist() == GOLDEN["big_tv_batched_0.5"].tolist()


def test_golden_edges():
    # IoU exactly at the threshold, tied scores, duplicates with and without area
    boxes, scores = torch.from_numpy(GOLDEN["edge_boxes"]), torch.from_numpy(GOLDEN["edge_scores"])
    for kind in ("iou", "diou"):
        kept = batched_nms(boxes, scores, torch.zeros(len(boxes), dtype=torch.int64), 0.5, kind)
        assert kept.tolist() == GOLDEN["edge_tv_0.5"].tolist()


def test_classes_never_suppress_one_another():
    # Negative coordinates make the usual offset by the largest coordinate bring the two classes together.
    boxes, scores, labels = (torch.from_numpy(GOLDEN[f"collide_{key}"]) for key in ("boxes", "scores", "classes"))
    assert len(GOLDEN["collide_tv_batched_0.5"]) == 1
    assert batched_nms(boxes, scores, labels).tolist() == [0, 1]
    same = torch.tensor([[0.0, 0.0, 1e5, 1e5]]).repeat(80, 1)
    assert len(batched_nms(same, torch.rand(80), torch.arange(80))) == 80


def test_many_classes_round_no_coordinate():
    # The pair of the last class overlaps by a bit less than 0.5: offsets in float32 would round it away.
    boxes = torch.tensor([[0.0, 0.0, 3000.0, 1.0], [1000.06, 0.0, 4000.0, 1.0]])
    overlap = box_iou(boxes[:1], boxes[1:]).item()
    labels = torch.tensor([9999, 9999])
    for threshold in (overlap - 1e-6, overlap + 1e-6):
        expected = [0] if overlap > threshold else [0, 1]
        assert batched_nms(boxes, torch.tensor([0.9, 0.8]), labels, threshold).tolist() == expected


coordinates = st.tuples(*[st.integers(-4, 4)] * 2, *[st.integers(0, 4)] * 2)
candidates = st.lists(
    st.tuples(coordinates.map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]), st.integers(0, 5), st.integers(0, 1)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=30)
@given(found=candidates, threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@pytest.mark.parametrize("kind", ["iou", "diou"])
def test_equals_plain_loops(kind, found, threshold):
    boxes = torch.tensor([box for box, _, _ in found]).float()
    scores, labels = torch.tensor([s for _, s, _ in found]) / 5, torch.tensor([label for _, _, label in found])
    expected = greedy(boxes, scores.tolist(), labels.tolist(), threshold, kind)
    assert batched_nms(boxes, scores, labels, threshold, kind).tolist() == expected


def test_half_precision():
    boxes = BOXES.half()
    expected = batched_nms(boxes.float(), SCORES, CLASSES)
    assert batched_nms(boxes, SCORES, CLASSES).tolist() == expected.tolist()


def test_errors():
    with pytest.raises(ValueError, match=r"Expected an NMS kind out of .* but got 'giou'"):
        batched_nms(BOXES, SCORES, CLASSES, kind="giou")
    with pytest.raises(ValueError, match=r"Expected an NMS threshold in 0\.\.1 but got 50"):
        batched_nms(BOXES, SCORES, CLASSES, iou=50)
    with pytest.raises(ValueError, match=r"Expected boxes \(n, 4\), scores \(n,\) and labels \(n,\)"):
        batched_nms(BOXES, SCORES[:3], CLASSES)


def test_vote_is_the_weighted_mean_of_overlapping_boxes_of_the_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 12], [50, 50, 60, 60]])
    scores, labels = torch.tensor([0.9, 0.6, 0.8, 0.7]), torch.tensor([0, 0, 1, 0])
    kept = torch.tensor([0, 3])
    voted = vote_boxes(boxes[kept], labels[kept], boxes, scores, labels, temperature=0.1)
    iou = 90 / 110
    weight = 0.6 * math.exp(-((1 - iou) ** 2) / 0.1)
    expected = (0.9 * boxes[0] + weight * boxes[1]) / (0.9 + weight)
    torch.testing.assert_close(voted, torch.stack([expected, boxes[3]]))


def test_vote_of_degenerate_and_no_boxes() -> None:
    none = torch.zeros(0, 4)
    assert vote_boxes(none, torch.zeros(0), none, torch.zeros(0), torch.zeros(0)).shape == (0, 4)
    point = torch.tensor([[5.0, 5, 5, 5]])
    label = torch.zeros(1, dtype=torch.int64)
    assert torch.equal(vote_boxes(point, label, point, torch.ones(1), label), point)
    with pytest.raises(ValueError, match="temperature"):
        vote_boxes(point, label, point, torch.ones(1), label, temperature=0.0)
