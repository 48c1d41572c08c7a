"""Greedy suppression as an operator of each form of a model file.

All take boxes (B, n, 4) from 0 up, each scored above 0 in one of the columns (B, C, n), or in none, and -1 in the
others, and an IoU; they give (B, n) bool, which stay: all but those whose IoU with a better one of their column that
stays is above.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Suppress = Callable[[Tensor, Tensor, float], Tensor]

torch.library.define("boxwright::kept_by_nms", "(Tensor boxes, Tensor scores, float iou) -> Tensor")


@torch.library.register_fake("boxwright::kept_by_nms")  # type: ignore[untyped-decorator]
def _kept_by_nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    return boxes.new_empty(boxes.shape[:2], dtype=torch.bool)


def by_onnx(boxes: Tensor, columns: Tensor, iou: float) -> Tensor:
    """Suppress by an operator that is exported as ONNX's NonMaxSuppression; torch can't compute it."""
    kept: Tensor = torch.ops.boxwright.kept_by_nms(boxes, columns, iou)
    return kept


def by_torchvision(boxes: Tensor, columns: Tensor, iou: float) -> Tensor:
    """Suppress by torchvision's NMS, with the columns of each image moved apart."""
    from torchvision.ops import nms

    best, column = columns.max(1)  # (B, n)
    images, count = best.shape
    place = torch.arange(images, device=column.device).unsqueeze(1) * columns.shape[1] + column
    apart = place.double() * (boxes.double().amax() + 1)  # in float64, so that no coordinate is rounded
    left = nms((boxes.double() + apart.unsqueeze(-1)).flatten(0, 1), best.flatten().double(), iou)
    kept = torch.zeros_like(best, dtype=torch.bool).flatten().index_fill(0, left, True)
    return kept.view(images, count) & (best > 0)
