"""Greedy suppression."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import ops

from boxwright.boxes import at_least_float32
from boxwright.nms._candidates import NmsOverlap, by_falling_score, check_candidates, check_overlap
from boxwright.nms.cluster import cluster_nms

# Classes are moved apart no farther than this, where float64 still tells 1e-6 pixels.
_FARTHEST = 1e10


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
    order = by_falling_score(boxes, scores)
    apart = at_least_float32(boxes[order]).double()
    if not agnostic and len(order):
        apart = _apart(apart, labels[order])
        if apart.abs().max() > _FARTHEST:
            return cluster_nms(boxes, scores, labels, iou)
    falling = torch.arange(len(order), 0, -1, dtype=torch.float64, device=apart.device)
    return order[ops.nms(apart, falling, iou)]


def _apart(boxes: Tensor, labels: Tensor) -> Tensor:
    """Boxes (n, 4) in float64, so that no coordinate is rounded, with each class moved off the others."""
    boxes = boxes - boxes.min()
    return boxes + (labels.double() * (boxes.max() + 1)).unsqueeze(-1)
