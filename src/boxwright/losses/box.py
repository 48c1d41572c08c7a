"""Losses of boxes by overlap: plain functions ``f(pred, target, ..., reduction="none") -> (N,)`` on xyxy boxes (N, 4).

Leading dimensions are free. All are finite in value and gradient for every finite prediction, degenerate ones included,
do not change when both boxes are scaled, and weigh 2 beside the classification loss unless the recipe says otherwise.
All raise ValueError for other shapes and, in eager calls on the CPU, for a target that isn't finite or has no area.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from torch import Tensor

from boxwright.boxes import aspect_penalty, centre_penalty, paired_iou
from boxwright.losses._overlap import aspect, centre, iou_less, overlap
from boxwright.losses._pairs import check_pairs, reduce_boxes
from boxwright.losses._reduction import Reduction, full_precision
from boxwright.parts import box_loss

IouMode = Literal["linear", "log", "square"]
CiouVariant = Literal["aaai", "tpami"]
CiouGradient = Literal["exact", "authors"]

# -ln IoU has no finite value for disjoint boxes: it stops at 13.8, without gradient.
_MIN_LOG_IOU = 1e-6


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def iou_loss(pred: Tensor, target: Tensor, mode: IouMode = "linear", reduction: Reduction = "none") -> Tensor:
    """1 - IoU ("linear"), -ln IoU ("log", UnitBox, arXiv 1608.01471) or 1 - IoU^2 ("square"), (N, 4) -> (N,).

    IoU is limited to 1e-6 from below in the logarithm. Raises ValueError for another mode.
    """
    if mode not in get_args(IouMode):
        raise ValueError(f"Expected an IoU mode out of {get_args(IouMode)} but got {mode!r}")
    check_pairs(pred, target)
    iou = overlap(pred, target)
    if mode == "log":
        return reduce_boxes(-iou.clamp(min=_MIN_LOG_IOU).log(), target, reduction)
    return reduce_boxes(1 - (iou if mode == "linear" else iou * iou), target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def giou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """1 - GIoU (arXiv 1902.09630, algorithm 1), in 0..2, (N, 4) -> (N,)."""
    check_pairs(pred, target)
    return reduce_boxes(1 - overlap(pred, target, "giou"), target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def diou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """1 - IoU + rho2 / c2 (arXiv 1911.08287, eq. 7), in 0..2, (N, 4) -> (N,)."""
    check_pairs(pred, target)
    return reduce_boxes(1 - overlap(pred, target, "diou"), target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def ciou_loss(
    pred: Tensor,
    target: Tensor,
    variant: CiouVariant = "aaai",
    gradient: CiouGradient = "exact",
    reduction: Reduction = "none",
) -> Tensor:
    """1 - IoU + rho2 / c2 + alpha v, with v the difference in aspect ratio, (N, 4) -> (N,).

    alpha is constant in the gradient. "aaai" (arXiv 1911.08287, eq. 10-12) has alpha everywhere, "tpami"
    (arXiv 2005.03572) has alpha = 0 where IoU < 0.5. ``gradient`` says what v passes back: "exact" is its derivative,
    with 1 / (w^2 + h^2); "authors" is the one of the paper's own code, without it, for the same value. Like all other
    terms the exact one falls as 1 / size; the authors' one grows with size. It is meant for coordinates in 0..1,
    where it lifts a weak term; on boxes of 100 pixels it is about 10^4 times the exact one and outweighs all others.
    Raises ValueError for another variant or gradient.
    """
    if variant not in get_args(CiouVariant):
        raise ValueError(f"Expected a CIoU variant out of {get_args(CiouVariant)} but got {variant!r}")
    if gradient not in get_args(CiouGradient):
        raise ValueError(f"Expected a CIoU gradient out of {get_args(CiouGradient)} but got {gradient!r}")
    check_pairs(pred, target)
    options = {"gate": 0.5 if variant == "tpami" else 0.0, "scaled_gradient": gradient == "authors"}

    def ciou(pred: Tensor, target: Tensor) -> Tensor:
        iou = paired_iou(pred, target)
        return iou - centre_penalty(pred, target) - aspect_penalty(pred, target, iou, **options)

    return reduce_boxes(1 - iou_less(pred, target, ciou, centre, partial(aspect, **options)), target, reduction)
