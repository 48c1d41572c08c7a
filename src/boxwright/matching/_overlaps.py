"""Best overlaps between anchors and targets without the whole (B, G, A) matrix at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from boxwright.boxes import box_iou

# Elements of the matrix that are held at a time: 1 MB of float32, which stays in a core's cache.
BLOCK_ELEMENTS = 1 << 18


@dataclass(frozen=True)
class BestOverlaps:
    """Best pairs from both sides; -1 stands for the IoU of a side that has no partner. Ties go to the lower index."""

    anchor_iou: Tensor
    """(B, A) each anchor's highest IoU."""
    anchor_target: Tensor
    """(B, A) int64, with which target."""
    target_iou: Tensor
    """(B, G) each target's highest IoU."""
    target_anchor: Tensor
    """(B, G) int64, with which anchor."""


def iou_blocks(anchors: Tensor, boxes: Tensor, real: Tensor) -> Iterator[tuple[int, Tensor]]:
    """IoU (B, G, S) of anchors from each ``start`` on; -1 for targets that are not ``real`` (B, G).

    Every element is computed by the same operations whatever the block, so results don't depend on the block size.
    """
    size = max(1, BLOCK_ELEMENTS // max(real.numel(), 1))
    for start in range(0, len(anchors), size):
        yield start, box_iou(boxes, anchors[start : start + size]).masked_fill_(~real.unsqueeze(-1), -1.0)


def best_overlaps(anchors: Tensor, boxes: Tensor, real: Tensor) -> BestOverlaps:
    """Best partner of every anchor (A, 4) among the real targets (B, G, 4), and of every target; G is at least 1."""
    anchor_iou, anchor_target = [], []
    target_iou = torch.full(real.shape, -1.0, dtype=boxes.dtype, device=boxes.device)
    target_anchor = torch.zeros(real.shape, dtype=torch.int64, device=boxes.device)
    for start, iou in iou_blocks(anchors, boxes, real):
        best = iou.max(dim=1)
        anchor_iou.append(best.values)
        anchor_target.append(best.indices)
        value, index = iou.max(dim=2)
        better = value > target_iou  # strictly: an equal one further on has a higher index
        target_iou = torch.where(better, value, target_iou)
        target_anchor = torch.where(better, start + index, target_anchor)
    return BestOverlaps(torch.cat(anchor_iou, 1), torch.cat(anchor_target, 1), target_iou, target_anchor)
