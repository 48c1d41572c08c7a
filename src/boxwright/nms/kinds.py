"""The kinds of NMS that a recipe or a prediction can name."""

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
    min_score: float = 0.001,
    agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run one kind of NMS by its name, other options at their defaults.

    - "iou", "diou": ``batched_nms``, which keeps the scores; "cluster_iou": ``cluster_nms``, same result as "iou".
    - "soft_linear", "soft_gaussian": ``soft_nms``; "cluster_soft": ``cluster_soft_nms``. These lower scores and keep
      what is then above ``min_score``.

    Returns:
        Indices (m,) and scores (m,), falling.

    Raises:
        ValueError: If the kind is unknown, the threshold is outside 0..1 or shapes do not fit.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
        >>> scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 0])
        >>> bw.nms.suppress(boxes, scores, labels, kind="soft_linear")
        (tensor([0, 2, 1]), tensor([0.9000, 0.7000, 0.1455]))
    """
    if kind not in get_args(NmsKind):
        raise ValueError(f"Expected an NMS kind out of {get_args(NmsKind)} but got {kind!r}")
    if kind == "soft_linear" or kind == "soft_gaussian":
        method: SoftMethod = "linear" if kind == "soft_linear" else "gaussian"
        return soft_nms(boxes, scores, labels, method, iou=iou, min_score=min_score, agnostic=agnostic)
    if kind == "cluster_soft":
        return cluster_soft_nms(boxes, scores, labels, iou, min_score=min_score, agnostic=agnostic)
    if kind == "cluster_iou":
        keep = cluster_nms(boxes, scores, labels, iou, agnostic=agnostic)
    else:
        keep = batched_nms(boxes, scores, labels, iou, kind, agnostic=agnostic)
    return keep, scores[keep]
