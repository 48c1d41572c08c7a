"""The kinds of NMS that a recipe or a prediction names."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from boxwright.nms.cluster import cluster_nms, cluster_soft_nms
from boxwright.nms.hard import batched_nms
from boxwright.nms.soft import SoftMethod, soft_nms

NmsKind = Literal["iou", "diou", "soft_linear", "soft_gaussian", "cluster_iou", "cluster_soft"]


def suppress(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou: float = 0.5,
    kind: NmsKind = "iou",
    *,
    least_score: float = 0.001,
    agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Indices (m,) and scores (m,), falling, of what one kind of NMS leaves, its other options at their defaults.

    "iou", "diou": ``batched_nms``. "cluster_iou": ``cluster_nms``, with the result of "iou". These keep the scores.
    "soft_linear", "soft_gaussian": ``soft_nms``. "cluster_soft": ``cluster_soft_nms``. These lower scores, and leave
    what is above ``least_score`` then. Raises ValueError for another kind, a threshold or shapes.
    """
    if kind not in get_args(NmsKind):
        raise ValueError(f"Expected an NMS kind out of {get_args(NmsKind)} but got {kind!r}")
    if kind == "soft_linear" or kind == "soft_gaussian":
        method: SoftMethod = "linear" if kind == "soft_linear" else "gaussian"
        return soft_nms(boxes, scores, labels, method, iou=iou, least_score=least_score, agnostic=agnostic)
    if kind == "cluster_soft":
        return cluster_soft_nms(boxes, scores, labels, iou, least_score=least_score, agnostic=agnostic)
    if kind == "cluster_iou":
        keep = cluster_nms(boxes, scores, labels, iou, agnostic=agnostic)
    else:
        keep = batched_nms(boxes, scores, labels, iou, kind, agnostic=agnostic)
    return keep, scores[keep]
