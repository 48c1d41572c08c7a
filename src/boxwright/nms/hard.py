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

# Classes are moved apart no farther than this, where float64 still tells 1e-6 pixels.
_FARTHEST = 1e10
# More candidates than this are settled all at once on a device, not one after another.
_MANY = 1 << 13
# So many candidates are all compared with one another for less than it takes to part the classes.
_FEW = 1000
# Candidates squared for each class from which on classes apart are the faster way, on the CPU.
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
    """Indices (m,) of the boxes that stay, by falling score: greedy suppression among boxes of the same label.

    A box goes when its overlap with a better one that stays is above ``iou``. ``kind`` "diou" takes
    IoU - (rho2 / c2)^beta for overlap: the paper's is beta 1 (arXiv 1911.08287, eq. 13), published models use .6 to
    1.1. ``agnostic``: whatever the labels. Raises ValueError for another kind, threshold, beta or shape.
    """
    check_overlap(kind, beta)
    check_candidates(boxes, scores, labels, iou)
    if kind == "diou":
        return cluster_nms(boxes, scores, labels, iou, kind, beta=beta, agnostic=agnostic)
    if not len(boxes):
        return labels.new_zeros(0, dtype=torch.int64)
    boxes, scores = boxes.double(), scores.double()  # so that no coordinate is rounded
    # One look at all values: of them a NaN is the least, and the most.
    low, high, best, last = [end.item() for end in on_cpu(*boxes.aminmax(), scores.amax(), labels.amax())]
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
    """``batched_nms`` of sound boxes (n, 4), one class after another."""
    labels, order = labels.sort(stable=True)
    sizes = labels.unique_consecutive(return_counts=True)[1].tolist()  # type: ignore[no-untyped-call]
    parts = zip(*(torch.split(values, sizes) for values in (boxes[order], scores[order], order)), strict=True)
    kept = torch.cat([index[nms(box, score, iou)] for box, score, index in parts]).sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]
