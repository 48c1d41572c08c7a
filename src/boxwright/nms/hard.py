"""Greedy suppression."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import ops

from boxwright.boxes import at_least_float32
from boxwright.nms._candidates import NmsOverlap, check_candidates, check_overlap
from boxwright.nms.cluster import cluster_nms


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou: float = 0.5,
    kind: NmsOverlap = "iou",
    *,
    beta: float = 1.0,
    agnostic: bool = False,
) -> Tensor:
    """Indices (m,) of the boxes that stay, by falling score: greedy suppression among boxes of the same label.

    A box goes when its overlap with a better one that stays is above ``iou``. ``kind`` "diou" takes
    IoU - (rho2 / c2)^beta for overlap: the paper's is beta 1 (arXiv 1911.08287, eq. 13), published models use .6 to
    1.1. ``agnostic``: whatever the labels. Raises ValueError for another kind, threshold, beta or shape.
    """
    check_overlap(kind, beta)
    check_candidates(boxes, scores, labels, iou)
    if kind == "diou":
        return cluster_nms(boxes, scores, labels, iou, kind, beta=beta, agnostic=agnostic)
    order = scores.argsort(descending=True, stable=True)
    boxes = at_least_float32(boxes[order]).double()
    if not agnostic and len(boxes):
        boxes = _apart(boxes, labels[order])
    falling = torch.arange(len(boxes), 0, -1, dtype=torch.float64, device=boxes.device)
    return order[ops.nms(boxes, falling, iou)]


def _apart(boxes: Tensor, labels: Tensor) -> Tensor:
    """Boxes (n, 4) in float64, so that no coordinate is rounded, with each class moved off the others."""
    boxes = boxes - boxes.min()
    return boxes + (labels.double() * (boxes.max() + 1)).unsqueeze(-1)
