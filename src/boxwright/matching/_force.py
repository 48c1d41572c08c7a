"""Rules that give a target an anchor which its IoU alone would not earn.

Each returns (B, A) int64: the target that an anchor is forced to answer for, or -1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import box_iou
from boxwright.matching._overlaps import BLOCK_ELEMENTS, BestOverlaps, iou_blocks


def force_ties(anchors: Tensor, boxes: Tensor, real: Tensor, best: BestOverlaps) -> Tensor:
    """Every anchor that reaches some target's best IoU keeps its own best target; a best IoU of 0 forces nothing."""
    reachable = torch.where(real & (best.target_iou > 0), best.target_iou, torch.inf).unsqueeze(-1)
    reaches = torch.cat([(iou == reachable).any(1) for _, iou in iou_blocks(anchors, boxes, real)], dim=1)
    return torch.where(reaches, best.anchor_target, -1)


def force_last(total: int, real: Tensor, best: BestOverlaps) -> Tensor:
    """Each target takes its best anchor, whatever the IoU; of several that want one anchor the last target wins."""
    forced = torch.full((len(real), total), -1, dtype=torch.int64, device=real.device)
    target = torch.arange(real.shape[1], device=real.device).expand_as(real)
    return forced.scatter_reduce(1, best.target_anchor, torch.where(real, target, -1), "amax")


def force_bipartite(anchors: Tensor, boxes: Tensor, real: Tensor, best: BestOverlaps) -> Tensor:
    """Greedy one-to-one matching: pairs by falling IoU, then target index, then anchor index.

    A pair that leads both its target's and its anchor's open pairs comes before anything that could take either, so
    all such pairs of a round are settled at once; the rounds are as many as the longest chain of conflicts. What
    remains overlaps no free anchor, and takes by target index the free one whose centre is nearest.
    """
    forced = torch.full((len(real), len(anchors)), -1, dtype=torch.int64, device=boxes.device)
    iou, favourite = best.target_iou.clone(), best.target_anchor.clone()
    waiting = real & (iou > 0)
    targets = torch.arange(real.shape[1], device=boxes.device)
    earlier = targets[:, None] < targets  # (rival, target)
    remaining = real.clone()
    while waiting.any():
        rivals = box_iou(boxes, anchors[favourite])  # (B, rival, target): overlap with the target's favourite
        mine = iou.unsqueeze(1)
        beaten = (waiting.unsqueeze(2) & ((rivals > mine) | ((rivals == mine) & earlier))).any(1)
        settled = waiting & ~beaten
        image, target = settled.nonzero(as_tuple=True)
        forced[image, favourite[image, target]] = target
        remaining &= ~settled
        waiting &= ~settled
        lost = waiting & (forced.gather(1, favourite) >= 0)
        iou[lost], favourite[lost] = _best_free(anchors, boxes, forced, lost)
        waiting &= iou > 0
    _take_nearest(anchors, boxes, remaining, forced)
    return forced


def _best_free(anchors: Tensor, boxes: Tensor, forced: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Highest IoU (n,) and its anchor (n,) among the free anchors, for each of the wanted targets (B, G)."""
    image, target = wanted.nonzero(as_tuple=True)
    if len(image) == 0:
        return boxes.new_zeros(0), image
    found, size = [], max(1, BLOCK_ELEMENTS // len(anchors))
    for start in range(0, len(image), size):
        rows = image[start : start + size], target[start : start + size]
        found.append(box_iou(boxes[rows], anchors).masked_fill_(forced[rows[0]] >= 0, -1.0).max(dim=1))
    return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])


def _take_nearest(anchors: Tensor, boxes: Tensor, remaining: Tensor, forced: Tensor) -> None:
    """Give the remaining targets, in turn, the free anchor with the nearest centre; fills ``forced`` in place.

    The n-th remaining target of every image is served at once. Runs dry where there are more targets than anchors.
    """
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    turn = torch.where(remaining, remaining.cumsum(1), 0)
    for n in range(1, int(turn.max()) + 1):
        image, target = (turn == n).nonzero(as_tuple=True)
        box = boxes[image, target]
        distance = ((centres - (box[:, None, :2] + box[:, None, 2:]) / 2) ** 2).sum(-1)
        distance = distance.masked_fill_(forced[image] >= 0, torch.inf)
        nearest = distance.min(dim=1)
        free = nearest.values < torch.inf
        forced[image[free], nearest.indices[free]] = target[free]
