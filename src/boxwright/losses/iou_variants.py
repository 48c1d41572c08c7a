"""Later losses of boxes by overlap: plain functions ``f(pred, target, ..., reduction="none") -> (N,)`` on xyxy (N, 4).

The same rules as in ``box``: free leading dimensions, targets that are finite and have an area, finite for every
prediction, weight 2 beside the classification loss, and 0 for identical boxes. All but ``mpdiou_loss`` keep their value
when both boxes are scaled.
Notation: dx, dy between the centres, rho2 = dx^2 + dy^2; cw, ch the sides of the smallest box around both and c2 its
squared diagonal; dw, dh the differences of the sides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import (
    OverlapKind,
    aspect_penalty,
    box_sides,
    centre_offset,
    centre_penalty,
    distance_ratio,
    enclosing_sides,
    paired_iou,
    safe_ratio,
    side_penalty,
)
from boxwright.losses._overlap import centre, iou_less, overlap, sides
from boxwright.losses._pairs import check_pairs, check_target_boxes, reduce_boxes
from boxwright.losses._reduction import Reduction, full_precision, reduce
from boxwright.parts import box_loss

# The slope of a power below 1 is unbounded at 0: from here down the base counts as 0.
_LEAST_BASE = 1e-12
# Corners that lie farther apart count as this far: the sum of many squares stays within float32.
_FARTHEST = 1e15


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def eiou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Efficient IoU (arXiv 2101.08158): 1 - IoU + rho2 / c2 + dw^2 / cw^2 + dh^2 / ch^2, in 0..4.

    The Extended IoU that other libraries call EIoU is another loss, and not 0 for identical boxes.
    """
    check_pairs(pred, target)
    return reduce_boxes(1 - _eiou(pred, target), target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def focal_eiou_loss(
    pred: Tensor, target: Tensor, gamma: float = 0.5, detach: bool = True, reduction: Reduction = "none"
) -> Tensor:
    """IoU^gamma x EIoU (arXiv 2101.08158): good boxes count for more; disjoint ones cost nothing and pull nowhere.

    "none" gives the weighted loss of each pair; "mean" divides by the sum of the weights, as the paper does (a constant
    in the gradient; 0 when no pair overlaps). The weight is constant in the gradient too unless ``detach`` is False;
    then its slope, unbounded at IoU 0, is taken as 0 there (up to IoU 1e-12), and boxes of low IoU, at least those
    below gamma / (1 + gamma), are taught to overlap less. Raises ValueError for gamma < 0.
    """
    if gamma < 0:
        raise ValueError(f"Expected gamma >= 0 but got {gamma}")
    check_pairs(pred, target)
    weight = _power(overlap(pred.detach() if detach else pred, target), gamma)
    cost = 1 - _eiou(pred, target)
    check_target_boxes(cost, target)
    loss = weight * cost
    if reduction == "mean":
        return safe_ratio(loss.sum(), weight.detach().sum())
    return reduce(loss, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def siou_loss(pred: Tensor, target: Tensor, theta: float = 4.0, reduction: Reduction = "none") -> Tensor:
    """SIoU (arXiv 2205.12740): 1 - IoU + (distance + shape) / 2, in 0..3.

    distance: the sum over x and y of 1 - exp(-(2 - angle) (d / c)^2), with angle = sin(2 arcsin(|dy| / rho)), that is
    2 |dx dy| / rho2: 1 on the diagonal, 0 along an axis. The exponent is negative, as in the paper; copies differ.
    shape: the sum over w and h of (1 - exp(-|dw| / max(w, w')))^theta. Raises ValueError for theta < 1; the paper has
    2 to 6.
    """
    if theta < 1:
        raise ValueError(f"Expected theta >= 1 but got {theta}")
    check_pairs(pred, target)
    dx, dy = centre_offset(pred, target)
    angle = safe_ratio(2 * (dx * dy).abs(), dx * dx + dy * dy)
    loss = 1 - overlap(pred, target)
    for offset, around in zip((dx, dy), enclosing_sides(pred, target), strict=True):
        loss = loss - torch.expm1((angle - 2) * distance_ratio(offset * offset, around * around)) / 2
    for side, wanted in zip(box_sides(pred), box_sides(target), strict=True):
        difference = safe_ratio((side - wanted).abs(), torch.maximum(side, wanted))
        loss = loss + (-torch.expm1(-difference)).pow(theta) / 2
    return reduce_boxes(loss, target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def alpha_iou_loss(
    pred: Tensor, target: Tensor, alpha: float = 3.0, kind: OverlapKind = "iou", reduction: Reduction = "none"
) -> Tensor:
    """Alpha-IoU (arXiv 2110.13675): 1 - IoU^alpha + penalty^alpha for each term that GIoU, DIoU or CIoU subtracts.

    As in the paper the distance is raised as a whole, (rho2 / c2)^alpha, not coordinate by coordinate. The weight in
    CIoU's second term is constant in the gradient. alpha = 1 is the plain loss; above it good boxes count for more.
    Raises ValueError for alpha <= 0 or another kind.
    """
    if alpha <= 0:
        raise ValueError(f"Expected alpha > 0 but got {alpha}")
    check_pairs(pred, target)
    iou = overlap(pred, target)
    penalty = iou - overlap(pred, target, "diou" if kind == "ciou" else kind)
    loss = 1 - _power(iou, alpha) + _power(penalty, alpha)
    if kind == "ciou":
        loss = loss + _power(aspect_penalty(pred, target, iou), alpha)
    return reduce_boxes(loss, target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def wiou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Wise-IoU v1 (arXiv 2301.10051): exp(rho2 / c2) (1 - IoU) with c2 constant in the gradient, in 0..e.

    The boxes are drawn together, and never the box around them apart. v2 and v3, which follow a running mean of the
    loss, are not here.
    """
    check_pairs(pred, target)
    dx, dy = centre_offset(pred, target)
    width, height = (side.detach() for side in enclosing_sides(pred, target))
    distance = distance_ratio(dx * dx + dy * dy, width * width + height * height)
    # Only a box turned inside out can lie farther from its target than the box around both reaches.
    return reduce_boxes(distance.clamp(max=1).exp() * (1 - overlap(pred, target)), target, reduction)


@box_loss(space="boxes", default_weight=2.0, needs=("image_size",))
@full_precision
def mpdiou_loss(
    pred: Tensor, target: Tensor, image_size: int | tuple[int, int] | None = None, reduction: Reduction = "none"
) -> Tensor:
    """MPDIoU (arXiv 2307.07662): 1 - IoU + (d1^2 + d2^2) / (W^2 + H^2), d1 and d2 between equal corners.

    These are the upper left and the lower right. ``image_size`` is that of the network's input in pixels, (H, W) or the
    side of a square, and has to be given; it weighs the distances, so that the loss changes when boxes are scaled and
    the image isn't. Raises ValueError unless it is one or two numbers above 0.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size or ())
    if len(sides) != 2 or min(sides) <= 0:
        raise ValueError(f"Expected image_size as (H, W) or a side, in pixels, but got {image_size!r}")
    check_pairs(pred, target)
    offsets = (pred - target).clamp(-_FARTHEST, _FARTHEST)
    distance = offsets.square().sum(-1) / (sides[0] ** 2 + sides[1] ** 2)
    return reduce_boxes(1 - overlap(pred, target) + distance, target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def inner_iou_loss(
    pred: Tensor, target: Tensor, ratio: float = 0.75, kind: OverlapKind = "iou", reduction: Reduction = "none"
) -> Tensor:
    """Inner-IoU (arXiv 2311.02877): the IoU term is that of both boxes scaled about their own centres by ``ratio``.

    1 - IoU_inner, and for another ``kind`` the loss of that kind + IoU - IoU_inner. A ratio below 1 steepens the loss
    of boxes that overlap well, our default being the middle of the paper's 0.5..1; above 1 (up to 1.5 there) it reaches
    boxes that do not overlap, which suits small objects. 1 is the plain loss. Raises ValueError for ratio <= 0.
    """
    if ratio <= 0:
        raise ValueError(f"Expected ratio > 0 but got {ratio}")
    check_pairs(pred, target)
    inner = overlap(_scaled(pred, ratio), _scaled(target, ratio))
    penalty = overlap(pred, target) - overlap(pred, target, kind)
    return reduce_boxes(1 - inner + penalty, target, reduction)


def _eiou(pred: Tensor, target: Tensor) -> Tensor:
    def expression(pred: Tensor, target: Tensor) -> Tensor:
        return paired_iou(pred, target) - centre_penalty(pred, target) - side_penalty(pred, target)

    return iou_less(pred, target, expression, centre, sides)


def _power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` for exponents of at least 0, with a finite gradient: 0 where the true one is infinite."""
    base = base.clamp(min=0)
    if exponent >= 1:
        return base.pow(exponent)
    usable = base > _LEAST_BASE
    return torch.where(usable, torch.where(usable, base, 1.0).pow(exponent), 0.0**exponent)


def _scaled(boxes: Tensor, ratio: float) -> Tensor:
    """Boxes (..., 4) scaled about their centres."""
    first, second = boxes[..., :2], boxes[..., 2:]
    margin = (1 - ratio) / 2 * (second - first)
    return torch.cat([first + margin, second - margin], dim=-1)
