"""Losses of boxes by overlap: plain functions ``f(pred, target, ..., reduction="none") -> (N,)`` on xyxy boxes (N, 4).

Any leading dimensions are allowed. Value and gradient are finite for every finite prediction, degenerate boxes
included, and do not change when both boxes are scaled. Recipes weigh these losses 2 to 1 against the classification
loss by default. All raise ValueError for other shapes and, in eager calls on the CPU, for a target that is not finite
or has no area.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from torch import Tensor

from boxwright.boxes import aspect_penalty, center_penalty, paired_iou
from boxwright.losses._overlap import aspect, center, iou_less, overlap
from boxwright.losses._pairs import check_pairs, reduce_boxes
from boxwright.losses._reduction import Reduction, full_precision
from boxwright.parts import box_loss

IouMode = Literal["linear", "log", "square"]
CiouVariant = Literal["aaai", "tpami"]
CiouGradient = Literal["exact", "authors"]

# -ln IoU is infinite for disjoint boxes: the loss is cut off at 13.8, without gradient beyond.
_MIN_LOG_IOU = 1e-6


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def iou_loss(pred: Tensor, target: Tensor, mode: IouMode = "linear", reduction: Reduction = "none") -> Tensor:
    """Compute the IoU loss, (N, 4) and (N, 4) -> (N,): 1 - IoU, -ln IoU or 1 - IoU^2.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        mode: "linear" is 1 - IoU, "log" is -ln IoU (UnitBox, arXiv 1608.01471) with IoU taken as at least 1e-6,
            "square" is 1 - IoU^2.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``mode`` is unknown.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.iou_loss(pred, target)
        tensor([0.5000])
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
    """Compute the GIoU loss 1 - GIoU (arXiv 1902.09630, algorithm 1), (N, 4) and (N, 4) -> (N,) in 0..2.

    Unlike ``iou_loss`` it has a gradient for boxes that do not overlap.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 0, 30, 10]])
        >>> bw.losses.giou_loss(pred, target)
        tensor([1.3333])
    """
    check_pairs(pred, target)
    return reduce_boxes(1 - overlap(pred, target, "giou"), target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def diou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Compute the DIoU loss 1 - IoU + rho2 / c2 (arXiv 1911.08287, eq. 7), (N, 4) and (N, 4) -> (N,) in 0..2.

    rho2 is the squared distance of the two centers, c2 the squared diagonal of the smallest box around both.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 0, 30, 10]])
        >>> bw.losses.diou_loss(pred, target)
        tensor([1.4000])
    """
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
    """Compute the CIoU loss 1 - IoU + rho2 / c2 + alpha v, (N, 4) and (N, 4) -> (N,).

    v measures the difference in aspect ratio; its weight alpha is constant in the gradient.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        variant: "aaai" (arXiv 1911.08287, eq. 10-12) uses alpha everywhere; "tpami" (arXiv 2005.03572) sets it to 0
            where IoU < 0.5.
        gradient: "exact" differentiates v, which has a factor 1 / (w^2 + h^2); "authors" drops that factor, as the
            paper's own code does, and keeps the value. The exact gradient falls as 1 / size, as that of all other terms
            does; the authors' grows with size. It is meant for coordinates in 0..1, where it lifts a weak term; on
            boxes of 100 pixels it is about 10^4 times the exact one and outweighs everything else.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``variant`` or ``gradient`` is unknown.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.ciou_loss(pred, target)
        tensor([0.5532])
    """
    if variant not in get_args(CiouVariant):
        raise ValueError(f"Expected a CIoU variant out of {get_args(CiouVariant)} but got {variant!r}")
    if gradient not in get_args(CiouGradient):
        raise ValueError(f"Expected a CIoU gradient out of {get_args(CiouGradient)} but got {gradient!r}")
    check_pairs(pred, target)
    gate, scaled = 0.5 if variant == "tpami" else 0.0, gradient == "authors"

    def ciou(pred: Tensor, target: Tensor) -> Tensor:
        iou = paired_iou(pred, target)
        return iou - center_penalty(pred, target) - aspect_penalty(pred, target, iou, gate, scaled)

    turned = partial(aspect, gate=gate, scaled_gradient=scaled)
    return reduce_boxes(1 - iou_less(pred, target, ciou, center, turned), target, reduction)
