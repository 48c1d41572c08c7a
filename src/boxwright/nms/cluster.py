"""Suppression of all boxes at once, repeated until nothing changes (Cluster-NMS, arXiv 2005.03572, section 4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from boxwright._util.devices import is_near, on_cpu
from boxwright.nms._candidates import (
    NmsOverlap,
    by_falling_score,
    check_candidates,
    check_overlap,
    close_pairs,
    crossing_pairs,
    overlap,
    sound_candidates,
)

# Number of best boxes that are settled before the others are looked at.
_HEAD = 128


@torch.no_grad()
def cluster_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou: float = 0.5,
    kind: NmsOverlap = "iou",
    *,
    beta: float = 1.0,
    agnostic: bool = False,
) -> Tensor:
    """Suppress boxes in parallel: the result of ``batched_nms``, found by iteration.

    A box stays unless a better box that stays suppresses it. This rule is iterated to its fixed point, which is the
    greedy result, in as many rounds as the longest chain of suppressions. The best of many boxes are settled first,
    since they suppress most of the others. Arguments and errors are those of ``batched_nms``.

    Returns:
        Indices (m,) of the boxes that stay, by falling score.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
        >>> bw.nms.cluster_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64))
        tensor([0, 2])
    """
    check_overlap(kind, beta)
    check_candidates(boxes, scores, labels, iou)
    given, boxes, scores, labels = by_falling_score(sound_candidates(boxes, scores, labels, agnostic))

    def suppresses(a: Tensor, b: Tensor) -> Tensor:
        """Tell which pairs of a better box ``a`` and a worse one ``b`` suppress."""
        return overlap(a, b, kind, beta) > iou

    if not is_near(boxes):
        return given[_settle_on_device(boxes, labels, iou, suppresses)]
    if len(boxes) <= 4 * _HEAD:
        return given[_settle(boxes, labels, iou, suppresses)]
    head = _settle(boxes[:_HEAD], labels[:_HEAD], iou, suppresses)
    first, second = crossing_pairs(boxes[head], labels[head], boxes[_HEAD:], labels[_HEAD:], iou)
    first, second = head[first], second + _HEAD
    left = torch.ones(len(boxes), dtype=torch.bool)
    left[:_HEAD] = False
    left[second[suppresses(boxes.index_select(0, first), boxes.index_select(0, second))]] = False
    tail = left.nonzero().squeeze(1)
    return given[torch.cat([head, tail[_settle(boxes[tail], labels[tail], iou, suppresses)]])]


@torch.no_grad()
def cluster_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou: float = 0.5,
    *,
    sigma: float = 0.2,
    min_score: float = 0.001,
    agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Lower the score of each box by its overlap with better boxes that ``cluster_nms`` keeps.

    This is the score penalty of Cluster-NMS: a score is multiplied by exp(-IoU^2 / ``sigma``) for each better kept box.
    A kept box is lowered too, by kept boxes that it overlaps by no more than ``iou``. Unlike ``soft_nms``, no score
    depends on another's new score.

    Returns:
        Indices (m,) and new scores (m,), falling, of the boxes whose new score is above ``min_score``.

    Raises:
        ValueError: If ``sigma`` is not above 0, the threshold is outside 0..1 or shapes do not fit.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
        >>> bw.nms.cluster_soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64))
        (tensor([0, 2, 1]), tensor([0.9000, 0.7000, 0.0281]))
    """
    check_candidates(boxes, scores, labels, iou)
    if not sigma > 0:
        raise ValueError(f"Expected a sigma above 0 but got {sigma}")
    given, boxes, scores, labels = by_falling_score(sound_candidates(boxes, scores, labels, agnostic))
    better, worse = close_pairs(boxes, labels, 0.0)
    overlaps = overlap(boxes[better], boxes[worse])
    scores, better, worse, overlaps = on_cpu(scores, better, worse, overlaps)
    suppresses = overlaps > iou
    kept = torch.zeros(len(scores), dtype=torch.bool)
    kept[_fixed_point(better[suppresses], worse[suppresses], len(scores))] = True
    penalty = torch.zeros_like(scores).index_add(0, worse, torch.where(kept[better], overlaps**2 / sigma, 0))
    rescored, again = (scores * torch.exp(-penalty)).sort(descending=True, stable=True)
    stays = rescored > min_score
    return given[again[stays].to(given.device, non_blocking=True)], rescored[stays].to(given.device, non_blocking=True)


def _settle(boxes: Tensor, labels: Tensor, iou: float, suppresses: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Find the indices (m,) that stay among boxes by falling score."""
    better, worse = close_pairs(boxes, labels, iou)
    pairs = suppresses(boxes.index_select(0, better), boxes.index_select(0, worse)).nonzero().squeeze(1)
    return _fixed_point(better.index_select(0, pairs), worse.index_select(0, pairs), len(boxes))


def _settle_on_device(
    boxes: Tensor, labels: Tensor, iou: float, suppresses: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Do the same as ``_settle`` with two waits: for the pairs, and for what they suppress.

    The chain of suppressions, of any length, is followed on the CPU.
    """
    better, worse = close_pairs(boxes, labels, iou)
    found = on_cpu(boxes[:, 0].isnan(), better, worse, suppresses(boxes[better], boxes[worse]))
    dropped, better, worse, pairs = found
    kept = _fixed_point(better[pairs], worse[pairs], len(boxes))
    return kept[~dropped[kept]].to(boxes.device, non_blocking=True)


def _fixed_point(better: Tensor, worse: Tensor, count: int) -> Tensor:
    """Find the indices (m,) that stay out of ``count`` by falling score if ``better`` (p,) suppress ``worse`` (p,)."""
    keep = torch.ones(count, dtype=torch.bool)
    while True:
        updated = torch.ones_like(keep)
        updated[worse[keep.index_select(0, better)]] = False
        if torch.equal(updated, keep):
            return keep.nonzero().squeeze(1)
        keep = updated
