"""Non-maximum suppression, within each class."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torchvision import ops

from boxwright.boxes import at_least_float32, box_iou, paired_iou

NmsKind = Literal["iou", "diou"]


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float = 0.5, kind: NmsKind = "iou") -> Tensor:
    """Indices (m,) of the boxes that stay, by falling score: greedy suppression among boxes of the same label.

    boxes (n, 4), scores (n,), labels (n,). A box goes when its overlap with a better one that stays is above ``iou``;
    the lower index counts as better among equal scores. ``kind`` "diou" takes IoU - rho2 / c2 for overlap
    (arXiv 1911.08287, eq. 13), and builds an (n, n) matrix. Raises ValueError for another kind, a threshold outside
    0..1, or shapes.
    """
    if kind not in get_args(NmsKind):
        raise ValueError(f"Expected an NMS kind out of {get_args(NmsKind)} but got {kind!r}")
    if not 0 <= iou <= 1:
        raise ValueError(f"Expected an NMS threshold in 0..1 but got {iou}")
    if boxes.shape != (len(scores), 4) or scores.shape != labels.shape:
        raise ValueError(
            f"Expected boxes (n, 4), scores (n,) and labels (n,) but got {tuple(boxes.shape)}, {tuple(scores.shape)} "
            f"and {tuple(labels.shape)}"
        )
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = at_least_float32(boxes[order]), labels[order]
    keep = _greedy_iou(boxes, labels, iou) if kind == "iou" else _greedy_diou(boxes, labels, iou)
    return order[keep]


def vote_boxes(
    kept: Tensor, kept_labels: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, temperature: float = 0.05
) -> Tensor:
    """Each kept box as the average of all candidates of its class that overlap it, itself among them.

    kept (m, 4) and kept_labels (m,) of those that NMS left; boxes (n, 4), scores (n,) and labels (n,) of all
    candidates. Returns (m, 4). A candidate weighs its score times exp(-(1 - IoU)^2 / ``temperature``), 0 where it
    doesn't overlap: variance voting (arXiv 1809.08545, section 3.4) with the score in place of the inverse variance.
    Raises ValueError for a temperature that isn't above 0.
    """
    if not temperature > 0:
        raise ValueError(f"Expected a temperature above 0 but got {temperature}")
    kept, boxes = at_least_float32(kept), at_least_float32(boxes)
    iou = box_iou(kept, boxes)
    counts = (kept_labels[:, None] == labels) & (iou > 0)
    weights = torch.where(counts, torch.exp(-((1 - iou) ** 2) / temperature) * scores, 0)
    total = weights.sum(1, keepdim=True)
    return torch.where(total > 0, weights @ boxes / total.clamp(min=1e-12), kept)


def _greedy_iou(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Places of the kept among sorted boxes. Classes are moved apart, in float64 so that no coordinate is rounded."""
    apart = boxes.double() - boxes.min()
    apart = apart + (labels.double() * (apart.max() + 1)).unsqueeze(-1)
    falling = torch.arange(len(boxes), 0, -1, dtype=torch.float64, device=boxes.device)
    keep: Tensor = ops.nms(apart, falling, threshold)
    return keep


def _greedy_diou(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Places of the kept among sorted boxes.

    A box stays unless a better one that stays suppresses it: iterated to its fixed point, which is the greedy result,
    in as many rounds as the longest chain of suppressions (Cluster-NMS, arXiv 2005.03572, section 4.2).
    """
    # DIoU is at most IoU: only pairs that meet can exceed a threshold of 0 or more, and comparing corners finds them.
    x1, y1, x2, y2 = boxes.unbind(1)
    meet = (x1[:, None] < x2) & (x1 < x2[:, None]) & (y1[:, None] < y2) & (y1 < y2[:, None])
    better, worse = (meet & (labels[:, None] == labels)).triu(diagonal=1).nonzero(as_tuple=True)
    suppresses = paired_iou(boxes[better], boxes[worse], "diou") > threshold
    better, worse = better[suppresses], worse[suppresses]
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        updated = torch.ones_like(keep)
        updated[worse[keep[better]]] = False
        if torch.equal(updated, keep):
            return keep.nonzero().squeeze(1)
        keep = updated
