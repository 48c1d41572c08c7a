"""What all matchers share: which targets and anchors can be matched, and boxes to be ignored."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright._util.checks import check_targets, has_area
from boxwright.anchors import Anchors
from boxwright.boxes import at_least_float32, box_area, intersection, paired_iou, safe_ratio
from boxwright.types import Matches


def prepare_targets(
    boxes: Tensor, labels: Tensor, ignore: Tensor | None, classes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Boxes (B, G, 4) in at least float32 with 0 for what isn't finite, and which can be matched, (B, G) bool.

    These are neither padding nor ignored, are finite and have an area. Raises ValueError as ``check_targets`` does.
    """
    check_targets(boxes, labels, ignore, classes)
    boxes = at_least_float32(boxes)
    real = (labels >= 0) & has_area(boxes)
    return boxes.nan_to_num(0.0, 0.0, 0.0), real if ignore is None else real & ~ignore


def prepare_anchors(anchors: Anchors | Tensor) -> Tensor:
    """The anchors' boxes (A, 4) in at least float32, NaN in place of infinity: NaN overlaps nothing, and is nowhere."""
    boxes = at_least_float32(anchors.boxes if isinstance(anchors, Anchors) else anchors)
    return boxes + (boxes - boxes)  # a finite number, or NaN


def matches_by_rule(
    positive: Tensor,
    gt_index: Tensor,
    anchors: Tensor,
    targets: tuple[Tensor, Tensor, Tensor | None],
    ignore_ioa: float,
) -> Matches:
    """Matches whose positives (B, A) a rule other than the anchors' IoU chose, with that IoU; gt_index 0 elsewhere.

    ``targets``: boxes, labels and ignore.
    """
    boxes, labels, ignore = targets
    iou = torch.zeros(positive.shape, device=boxes.device)
    image, anchor = positive.nonzero(as_tuple=True)
    iou[image, anchor] = paired_iou(boxes[image, gt_index[image, anchor]], anchors[anchor]).float()
    state = set_aside_ignored(positive.to(torch.int8), anchors, boxes, labels, ignore, ignore_ioa)
    return Matches(gt_index, state, iou)


def set_aside_ignored(
    state: Tensor, anchors: Tensor, boxes: Tensor, labels: Tensor, ignore: Tensor | None, ignore_ioa: float
) -> Tensor:
    """``state`` (B, A) with -1 for negatives under an ignored box: intersection / anchor area >= ``ignore_ioa``."""
    if ignore is None or not ignore.any():
        return state
    covered = ignored_share(anchors, boxes, labels, ignore) >= ignore_ioa
    return torch.where(covered & (state == 0), torch.full_like(state, -1), state)


def ignored_share(anchors: Tensor, boxes: Tensor, labels: Tensor, ignore: Tensor) -> Tensor:
    """(B, A) the largest share of each anchor's area that an ignored box covers; -1 in images without such a box."""
    ignored = ignore & (labels >= 0)
    # Ignored boxes are few: bring them to the front and drop the columns that no image needs.
    order = ignored.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(ignored.sum(1).max())]
    covers = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4)).unsqueeze(2)  # (B, G', 1, 4)
    share = safe_ratio(intersection(covers, anchors), box_area(anchors))  # (B, G', A)
    if not order.shape[1]:
        return share.new_full((len(share), len(anchors)), -1.0)
    return share.masked_fill_(~ignored.gather(1, order).unsqueeze(-1), -1.0).amax(1)
