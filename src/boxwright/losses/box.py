"""Box losses: plain functions ``f(pred, target, ..., reduction="none") -> (N,)``.

"deltas" losses compare encoded boxes (N, 4) and sum over the 4 coordinates. "boxes" losses compare xyxy boxes (N, 4).
Leading dimensions are free. All are finite in value and gradient for every finite box, degenerate ones included.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from boxwright.boxes import aspect_penalty, centre_penalty, paired_iou
from boxwright.losses._reduction import LossInfo, Reduction, box_loss, full_precision, marked, reduce

IouMode = Literal["linear", "log", "square"]
CiouVariant = Literal["aaai", "tpami"]

# -ln IoU has no finite value for disjoint boxes: it stops at 13.8, without gradient.
_MIN_LOG_IOU = 1e-6


@box_loss(space="deltas")
@full_precision
def l1_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Sum of |pred - target| over the 4 coordinates, (N, 4) -> (N,)."""
    _check_pairs(pred, target)
    return reduce((pred - target).abs().sum(-1), reduction)


@box_loss(space="deltas")
@full_precision
def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0, reduction: Reduction = "none") -> Tensor:
    """Smooth L1 (Fast R-CNN, arXiv 1504.08083, eq. 3) summed over the 4 coordinates, (N, 4) -> (N,).

    d^2 / (2 beta) where d = |pred - target| < beta, else d - beta / 2; beta = 0 is L1. Raises ValueError for beta < 0.
    """
    _check_pairs(pred, target)
    if beta < 0:
        raise ValueError(f"Expected beta >= 0 but got {beta}")
    return reduce(functional.smooth_l1_loss(pred, target, reduction="none", beta=beta).sum(-1), reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def iou_loss(pred: Tensor, target: Tensor, mode: IouMode = "linear", reduction: Reduction = "none") -> Tensor:
    """1 - IoU ("linear"), -ln IoU ("log", UnitBox, arXiv 1608.01471) or 1 - IoU^2 ("square"), (N, 4) -> (N,).

    IoU is limited to 1e-6 from below in the logarithm. Raises ValueError for another mode.
    """
    _check_pairs(pred, target)
    if mode not in get_args(IouMode):
        raise ValueError(f"Expected an IoU mode out of {get_args(IouMode)} but got {mode!r}")
    iou = paired_iou(pred, target)
    if mode == "log":
        return reduce(-iou.clamp(min=_MIN_LOG_IOU).log(), reduction)
    return reduce(1 - (iou if mode == "linear" else iou * iou), reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def giou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """1 - GIoU (arXiv 1902.09630, algorithm 1), in 0..2, (N, 4) -> (N,)."""
    _check_pairs(pred, target)
    return reduce(1 - paired_iou(pred, target, "giou"), reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def diou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """1 - IoU + rho2 / c2 (arXiv 1911.08287, eq. 7), in 0..2, (N, 4) -> (N,)."""
    _check_pairs(pred, target)
    return reduce(1 - paired_iou(pred, target, "diou"), reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def ciou_loss(pred: Tensor, target: Tensor, variant: CiouVariant = "aaai", reduction: Reduction = "none") -> Tensor:
    """1 - IoU + rho2 / c2 + alpha v, with v the difference in aspect ratio, (N, 4) -> (N,).

    alpha is constant in the gradient. "aaai" (arXiv 1911.08287, eq. 10-12) has alpha everywhere, "tpami"
    (arXiv 2005.03572) has alpha = 0 where IoU < 0.5. v keeps its true gradient, with 1 / (w^2 + h^2).
    Raises ValueError for another variant.
    """
    _check_pairs(pred, target)
    if variant not in get_args(CiouVariant):
        raise ValueError(f"Expected a CIoU variant out of {get_args(CiouVariant)} but got {variant!r}")
    iou = paired_iou(pred, target)
    aspect = aspect_penalty(pred, target, iou, gate=0.5 if variant == "tpami" else 0.0)
    return reduce(1 - iou + centre_penalty(pred, target) + aspect, reduction)


@marked(LossInfo("distribution"))
@full_precision
def distribution_focal_loss(logits: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Distribution focal loss (GFL, arXiv 2006.04388, eq. 6), (N, 4, bins) and (N, 4) -> (N,), the mean of the 4 sides.

    ``target`` is a distance in bins (``DistributionCoder.distances``), limited to 0..bins - 1: cross entropy with its
    two neighbouring bins, weighted by nearness. Raises ValueError for other shapes.
    """
    bins = logits.shape[-1]
    if logits.shape[:-1] != target.shape or bins < 2:
        raise ValueError(
            f"Expected logits (N, 4, bins) and target (N, 4) but got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    target = target.clamp(0, bins - 1).unsqueeze(-1)
    below = target.floor().clamp(max=bins - 2)
    log_p = logits.log_softmax(-1)
    neighbours = log_p.gather(-1, torch.cat([below, below + 1], dim=-1).long())
    share = target - below
    return reduce(-(neighbours * torch.cat([1 - share, share], dim=-1)).sum(-1).mean(-1), reduction)


def _check_pairs(pred: Tensor, target: Tensor) -> None:
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(
            f"Expected pred and target of one shape (N, 4) but got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
