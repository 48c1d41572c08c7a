"""Greedy suppression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from boxwright._util.devices import is_near, on_cpu
from boxwright.nms._candidates import NmsOverlap, check_candidates, check_overlap, is_sound
from boxwright.nms._matrix import nms_by_matrix
from boxwright.nms._torchvision import nms
from boxwright.nms.cluster import cluster_nms

# Classes are moved apart by at most this, where float64 still resolves 1e-6 pixels.
_FARTHEST = 1e10
# With more candidates than this, a device settles them all at once instead of one after another.
_MANY = 1 << 13
# Up to this many candidates, comparing all pairs is cheaper than separating the classes.
_FEW = 1000
# Candidates squared per class from which on going class by class is faster, on the CPU.
_PER_CLASS = 100_000


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
    """Suppress boxes greedily among those of the same label.

    A box is dropped when its overlap with a better box that stays is above ``iou``.

    Args:
        boxes: Boxes (n, 4) xyxy.
        scores: Scores (n,).
        labels: Classes (n,).
        iou: Threshold in 0..1.
        kind: Overlap: "iou", or "diou" for IoU - (rho2 / c2)^beta.
        beta: Exponent of "diou": the paper's is 1 (arXiv 1911.08287, eq. 13), published models use .6 to 1.1.
        agnostic: Ignore the labels.

    Returns:
        Indices (m,) of the boxes that stay, by falling score.

    Raises:
        ValueError: If the kind is unknown, or the threshold, beta or a shape is wrong.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
        >>> bw.nms.batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64))
        tensor([0, 2])
    """
    check_overlap(kind, beta)
    check_candidates(boxes, scores, labels, iou)
    if kind == "diou":
        return cluster_nms(boxes, scores, labels, iou, kind, beta=beta, agnostic=agnostic)
    if not len(boxes):
        return labels.new_zeros(0, dtype=torch.int64)
    boxes, scores = boxes.double(), scores.double()  # so that no coordinate is rounded
    # One pass over all values: a NaN is both their minimum and their maximum.
    low, high, best, last = [end.item() for end in on_cpu(*boxes.aminmax(), scores.max(), labels.max())]
    if not math.isfinite(high - low) or math.isnan(best):
        sound = is_sound(boxes, scores).nonzero().squeeze(1)
        return sound[batched_nms(boxes[sound], scores[sound], labels[sound], iou, agnostic=agnostic)]
    if agnostic:
        labels, last = torch.zeros_like(labels), 0
    if len(boxes) > _MANY and not is_near(boxes):
        kept = nms_by_matrix(boxes, scores, labels, iou)
        if kept is not None:
            return kept
    side = high - low + 1
    if side * last > _FARTHEST or _is_sooner_by_class(labels):
        return _by_class(boxes, scores, labels, iou)
    return nms(torch.add(boxes, labels.double().unsqueeze(1), alpha=side), scores, iou)


def _is_sooner_by_class(labels: Tensor) -> bool:
    count = len(labels)
    if count <= _FEW or not is_near(labels):
        return False
    return count * count > _PER_CLASS * len(labels.unique())  # type: ignore[no-untyped-call]


def _by_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Do the same as ``batched_nms`` for sound boxes (n, 4), one class after another."""
    labels, order = labels.sort(stable=True)
    sizes = labels.unique_consecutive(return_counts=True)[1].tolist()  # type: ignore[no-untyped-call]
    parts = zip(*(torch.split(values, sizes) for values in (boxes[order], scores[order], order)), strict=True)
    kept = torch.cat([index[nms(box, score, iou)] for box, score, index in parts]).sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]
