"""What all matchers share: checks of their input, and boxes to be ignored."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import box_area, intersection, paired_iou, safe_ratio
from boxwright.types import Matches


def check_targets(boxes: Tensor, labels: Tensor, ignore: Tensor | None) -> None:
    """Raise ValueError unless boxes are (B, G, 4), labels and ignore (B, G)."""
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or labels.shape != boxes.shape[:2]:
        raise ValueError(
            f"Expected boxes (B, G, 4) and labels (B, G) but got {tuple(boxes.shape)} and {tuple(labels.shape)}"
        )
    if ignore is not None and (ignore.shape != labels.shape or ignore.dtype != torch.bool):
        raise ValueError(f"Expected ignore bool {tuple(labels.shape)} but got {ignore.dtype} {tuple(ignore.shape)}")


def matchable(labels: Tensor, ignore: Tensor | None) -> Tensor:
    """(B, G) bool: the targets that are neither padding nor ignored."""
    real = labels >= 0
    return real if ignore is None else real & ~ignore


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
    ignored = ignore & (labels >= 0)
    # Ignored boxes are few: bring them to the front and drop the columns that no image needs.
    order = ignored.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(ignored.sum(1).max())]
    covers = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4)).unsqueeze(2)  # (B, G', 1, 4)
    covered = safe_ratio(intersection(covers, anchors), box_area(anchors)) >= ignore_ioa  # (B, G', A)
    covered = (covered & ignored.gather(1, order).unsqueeze(-1)).any(1)
    return torch.where(covered & (state == 0), torch.full_like(state, -1), state)
