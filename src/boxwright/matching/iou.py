"""Matching by IoU thresholds: SSD, RetinaNet, RPN."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright.anchors import Anchors
from boxwright.boxes import at_least_float32, paired_iou
from boxwright.matching._common import check_targets, matchable, set_aside_ignored
from boxwright.matching._force import force_bipartite, force_last, force_ties
from boxwright.matching._overlaps import BestOverlaps, best_overlaps
from boxwright.types import Matches

ForceRule = Literal["bipartite", "ties", "last"]


@torch.no_grad()
def match_iou(
    anchors: Anchors | Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    positive: float = 0.5,
    negative: float = 0.5,
    strict: bool = False,
    force: ForceRule | None = "bipartite",
    ignore: Tensor | None = None,
    ignore_ioa: float = 0.5,
) -> Matches:
    """Match each anchor with the target that it overlaps most (ties: the first), by thresholds on their IoU.

    boxes (B, G, 4) in the anchors' pixels, labels (B, G) with -1 for padding, ignore (B, G) bool. The state is 1 where
    IoU >= ``positive`` (``strict``: >), 0 where IoU < ``negative``, -1 between; a negative is -1 as well under an
    ignored box (intersection / anchor area >= ``ignore_ioa``). gt_index and iou are 0 below ``negative``, except for
    forced anchors, which have the target they answer for and their IoU with it.

    ``force`` makes anchors positive whatever the thresholds say:

    - "bipartite": SSD's first step (arXiv 1512.02325, section 2.2) as its authors run it: pairs by falling IoU, then
      target, then anchor. Every target gets an anchor of its own as long as there are enough; one that overlaps no free
      anchor gets the free one whose centre is nearest.
    - "ties": every anchor that reaches some target's best IoU (> 0) answers for its own best target (the low-quality
      rule of Faster R-CNN's RPN, arXiv 1506.01497, section 3.1.2).
    - "last": torchvision's SSDMatcher with its faults: each target takes its best anchor even at IoU 0, and of two
      targets with the same best anchor the later one wins and the other may end up without any.
    - None: thresholds alone.

    The IoU matrix is never held as a whole. Raises ValueError for thresholds out of order, an unknown rule, or shapes.
    """
    if not 0 <= max(negative, 0) <= positive:
        raise ValueError(f"Expected negative <= positive and positive >= 0 but got {negative} and {positive}")
    if force is not None and force not in get_args(ForceRule):
        raise ValueError(f"Expected force to be None or out of {get_args(ForceRule)} but got {force!r}")
    check_targets(boxes, labels, ignore)
    reference = at_least_float32(anchors.boxes if isinstance(anchors, Anchors) else anchors)
    boxes = at_least_float32(boxes)
    real = matchable(labels, ignore)
    iou, gt_index, forced = _assign(reference, boxes, real, force)
    owned = (iou >= 0) & ((iou >= negative) | forced)
    iou = iou.clamp(min=0)
    reached = (iou > positive if strict else iou >= positive) & owned
    state = torch.where(iou < negative, 0, -1).to(torch.int8).masked_fill(reached | forced, 1)
    state = set_aside_ignored(state, reference, boxes, labels, ignore, ignore_ioa)
    return Matches(torch.where(owned, gt_index, 0), state, torch.where(owned, iou, 0.0).float())


def _assign(anchors: Tensor, boxes: Tensor, real: Tensor, force: ForceRule | None) -> tuple[Tensor, Tensor, Tensor]:
    """IoU (B, A; -1 where an image has no target), the target (B, A) it is with, and whether it was forced (B, A)."""
    if real.shape[1] == 0:
        iou = boxes.new_full((len(boxes), len(anchors)), -1.0)
        return iou, torch.zeros_like(iou, dtype=torch.int64), torch.zeros_like(iou, dtype=torch.bool)
    best = best_overlaps(anchors, boxes, real)
    choice = _forced_targets(anchors, boxes, real, best, force)
    if choice is None:
        return best.anchor_iou, best.anchor_target, torch.zeros_like(best.anchor_iou, dtype=torch.bool)
    forced = choice >= 0
    gt_index = torch.where(forced, choice, best.anchor_target)
    image, anchor = forced.nonzero(as_tuple=True)
    iou = best.anchor_iou.clone()
    iou[image, anchor] = paired_iou(boxes[image, gt_index[image, anchor]], anchors[anchor])
    return iou, gt_index, forced


def _forced_targets(
    anchors: Tensor, boxes: Tensor, real: Tensor, best: BestOverlaps, force: ForceRule | None
) -> Tensor | None:
    if force == "bipartite":
        return force_bipartite(anchors, boxes, real, best)
    if force == "ties":
        return force_ties(anchors, boxes, real, best)
    if force == "last":
        return force_last(len(anchors), real, best)
    return None
