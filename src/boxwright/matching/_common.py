"""What all matchers share: which targets and anchors can be matched, and boxes to be ignored."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright._util.checks import all_near, check_targets, has_area, is_near, none_near
from boxwright.anchors import Anchors
from boxwright.boxes import Corners, at_least_float32, paired_iou, quotient_
from boxwright.matching._overlaps import block_size
from boxwright.types import Matches


def prepare_targets(
    boxes: Tensor, labels: Tensor, ignore: Tensor | None, classes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Boxes (B, G, 4) in at least float32 with 0 for what isn't finite, and which can be matched, (B, G) bool.

    These are neither padding nor ignored, are finite and have an area. Raises ValueError as ``check_targets`` does.
    """
    sound = check_targets(boxes, labels, ignore, classes)
    boxes, real = at_least_float32(boxes), labels >= 0
    if not sound:
        real &= has_area(boxes)
    elif ignore is None and all_near(real):
        return boxes, real
    return boxes.nan_to_num(0.0, 0.0, 0.0), real if ignore is None else real & ~ignore


def prepare_anchors(anchors: Anchors | Tensor) -> Corners:
    """The corners of the anchors' boxes (A, 4); those that aren't finite overlap nothing, and are nowhere."""
    return anchors.corners if isinstance(anchors, Anchors) else Corners.of(anchors)


def matches_by_rule(
    positive: Tensor,
    gt_index: Tensor,
    anchors: Corners,
    targets: tuple[Tensor, Tensor, Tensor | None],
    ignore_ioa: float,
) -> Matches:
    """Matches whose positives (B, A) a rule other than the anchors' IoU chose, with that IoU; gt_index 0 elsewhere.

    ``targets``: boxes, labels and ignore.
    """
    boxes, labels, ignore = targets
    if is_near(positive):  # positives are few
        iou = torch.zeros(positive.shape)
        image, anchor = positive.nonzero(as_tuple=True)
        iou[image, anchor] = paired_iou(boxes[image, gt_index[image, anchor]], anchors.boxes[anchor]).float()
    elif boxes.shape[1]:
        own = boxes.gather(1, gt_index.unsqueeze(-1).expand(-1, -1, 4))  # (B, A, 4)
        iou = torch.where(positive, paired_iou(own, anchors.boxes).float(), 0.0)
    else:
        iou = torch.zeros(positive.shape, device=positive.device)
    state = set_aside_ignored(positive.to(torch.int8), anchors, boxes, labels, ignore, ignore_ioa)
    return Matches(gt_index, state, iou)


def set_aside_ignored(
    state: Tensor, anchors: Corners, boxes: Tensor, labels: Tensor, ignore: Tensor | None, ignore_ioa: float
) -> Tensor:
    """``state`` (B, A) with -1 for negatives under an ignored box: intersection / anchor area >= ``ignore_ioa``."""
    if ignore is None or none_near(ignore) or not ignore.shape[1]:
        return state
    covered = ignored_share(anchors, boxes, labels, ignore) >= ignore_ioa
    return torch.where(covered & (state == 0), -1, state)


def ignored_share(anchors: Corners, boxes: Tensor, labels: Tensor, ignore: Tensor) -> Tensor:
    """(B, A) the largest share of each anchor's area that an ignored box covers; -1 in images without such a box."""
    ignored = ignore & (labels >= 0)
    if is_near(ignored):  # they are few: bring them to the front and drop the columns that no image needs
        order = ignored.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        order = order[:, : max(1, int(ignored.sum(1).max()))]
        ignored, boxes = ignored.gather(1, order), boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    boxes, below = boxes * ignored.unsqueeze(-1), (~ignored).unsqueeze(-1).to(boxes.dtype)
    corners = boxes.unsqueeze(2).unbind(-1)
    shares, size = [], block_size(ignored.numel(), boxes.device)
    for start in range(0, len(anchors.boxes), size):
        part = anchors.part(start, start + size)
        shares.append(quotient_(part.shared(*corners), part.area.clone()).sub_(below).amax(1))  # points share 0
    return torch.cat(shares, dim=1)
