"""Votes of suppressed boxes on the one that stays."""

import math

import pytest
import torch

from boxwright.nms import vote_boxes


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


@pytest.mark.parametrize("bad", [[math.nan] * 4, [0.0, 0.0, math.inf, 10.0]])
def test_what_is_not_finite_has_no_vote(bad: list[float]) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10]])
    scores, labels = torch.tensor([0.9, 0.6]), torch.tensor([0, 0])
    wanted = vote_boxes(boxes[:1], labels[:1], boxes, scores, labels)
    mixed = (torch.cat([boxes, torch.tensor([bad])]), torch.tensor([0.9, 0.6, 0.8]), torch.tensor([0, 0, 0]))
    assert torch.equal(vote_boxes(boxes[:1], labels[:1], *mixed), wanted)
    unknown = (torch.cat([boxes, boxes[:1]]), torch.tensor([0.9, 0.6, math.nan]), torch.tensor([0, 0, 0]))
    assert torch.equal(vote_boxes(boxes[:1], labels[:1], *unknown), wanted)
