"""More recent losses of boxes by overlap: plain functions ``f(pred, target, ..., reduction="none") -> (N,)`` on (N, 4).

The rules of ``losses.box`` apply: xyxy boxes with any leading dimensions, targets that are finite and have an area,
finite values for every prediction, default weight 2, and 0 for identical boxes. All but ``mpdiou_loss`` keep their
value when both boxes are scaled.

Notation: dx, dy between the centers, rho2 = dx^2 + dy^2; cw, ch the sides of the smallest box around both and c2 its
squared diagonal; dw, dh the differences of the sides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import (
    OverlapKind,
    aspect_penalty,
    box_sides,
    center_offset,
    center_penalty,
    distance_ratio,
    enclosing_sides,
    paired_iou,
    safe_ratio,
    side_penalty,
)
from boxwright.losses._overlap import center, iou_less, overlap, sides
from boxwright.losses._pairs import check_pairs, check_target_boxes, reduce_boxes
from boxwright.losses._reduction import Reduction, full_precision, reduce
from boxwright.parts import box_loss

# The slope of a power below 1 is infinite at 0: smaller bases count as 0.
_LEAST_BASE = 1e-12
# Corner distances are limited to this, so that the sum of many squares stays within float32.
_FARTHEST = 1e15


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def eiou_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Compute the EIoU loss (arXiv 2101.08158): 1 - IoU + rho2 / c2 + dw^2 / cw^2 + dh^2 / ch^2, in 0..4.

    EIoU is Efficient IoU here. The Extended IoU that some libraries call EIoU is another loss, which is not 0 for
    identical boxes.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.eiou_loss(pred, target)
        tensor([0.8000])
    """
    check_pairs(pred, target)
    return reduce_boxes(1 - _eiou(pred, target), target, reduction)


@box_loss(space="boxes", default_weight=2.0)
@full_precision
def focal_eiou_loss(
    pred: Tensor, target: Tensor, gamma: float = 0.5, detach: bool = True, reduction: Reduction = "none"
) -> Tensor:
    """Compute focal EIoU (arXiv 2101.08158): IoU^gamma x EIoU, so that accurate boxes weigh more.

    Disjoint boxes have no loss and no gradient.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        gamma: Exponent of the weight.
        detach: Keep the weight IoU^gamma constant in the gradient. If False it is differentiated too (its slope,
            infinite at IoU 0, counts as 0 up to IoU 1e-12), and boxes of low IoU, at least those below gamma / (1 +
            gamma), learn to overlap less.
        reduction: "none" returns the weighted loss of each pair, "sum" their sum; "mean" divides by the sum of the
            weights, as the paper does (constant in the gradient; 0 when no pair overlaps).

    Raises:
        ValueError: If ``gamma`` is negative.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.focal_eiou_loss(pred, target)
        tensor([0.5657])
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
    """Compute SIoU (arXiv 2205.12740): 1 - IoU + (distance + shape) / 2, in 0..3.

    - distance: the sum over x and y of 1 - exp(-(2 - angle) (d / c)^2), with angle = sin(2 arcsin(|dy| / rho)) = 2 |dx
      dy| / rho2: 1 on the diagonal, 0 along an axis. The exponent is negative as in the paper; some implementations
      differ.
    - shape: the sum over w and h of (1 - exp(-|dw| / max(w, w')))^theta.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        theta: Exponent of the shape term; the paper uses 2 to 6.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``theta`` is below 1.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.siou_loss(pred, target)
        tensor([0.5707])
    """
    if theta < 1:
        raise ValueError(f"Expected theta >= 1 but got {theta}")
    check_pairs(pred, target)
    dx, dy = center_offset(pred, target)
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
    """Compute Alpha-IoU (arXiv 2110.13675): 1 - IoU^alpha + penalty^alpha for each penalty of GIoU, DIoU or CIoU.

    As in the paper the distance is raised as a whole, (rho2 / c2)^alpha, not coordinate by coordinate. The weight in
    CIoU's second term is constant in the gradient.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        alpha: 1 is the plain loss; larger values give accurate boxes more weight.
        kind: Which loss's penalties to use: "iou" (none), "giou", "diou" or "ciou".
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``alpha`` is not above 0 or ``kind`` is unknown.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.alpha_iou_loss(pred, target)
        tensor([0.8750])
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
    """Compute Wise-IoU v1 (arXiv 2301.10051): exp(rho2 / c2) (1 - IoU), in 0..e.

    c2 is constant in the gradient: the boxes are drawn together, but the box around them is never enlarged. Versions v2
    and v3, which follow a running mean of the loss, are not implemented.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.wiou_loss(pred, target)
        tensor([0.5256])
    """
    check_pairs(pred, target)
    dx, dy = center_offset(pred, target)
    width, height = (side.detach() for side in enclosing_sides(pred, target))
    distance = distance_ratio(dx * dx + dy * dy, width * width + height * height)
    # Only for a box turned inside out can the center distance exceed the size of the box around both.
    return reduce_boxes(distance.clamp(max=1).exp() * (1 - overlap(pred, target)), target, reduction)


@box_loss(space="boxes", default_weight=2.0, needs=("image_size",))
@full_precision
def mpdiou_loss(
    pred: Tensor, target: Tensor, image_size: int | tuple[int, int] | None = None, reduction: Reduction = "none"
) -> Tensor:
    """Compute MPDIoU (arXiv 2307.07662): 1 - IoU + (d1^2 + d2^2) / (W^2 + H^2).

    d1 and d2 are the distances between the upper left and between the lower right corners. They are weighed by the
    image's size, so the loss changes when boxes are scaled and the image is not.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        image_size: Size of the network's input in pixels, (H, W) or the side of a square. Required.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: Unless ``image_size`` is one or two numbers above 0.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.mpdiou_loss(pred, target, image_size=320)
        tensor([0.5005])
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
    """Compute Inner-IoU (arXiv 2311.02877): the IoU is that of both boxes scaled by ``ratio`` about their centers.

    It is 1 - IoU_inner for "iou" and the loss of ``kind`` + IoU - IoU_inner for the others.

    Args:
        pred: Predicted boxes (N, 4).
        target: True boxes (N, 4).
        ratio: 1 is the plain loss. Below 1 the loss is steeper for boxes that overlap well (the default is the middle
            of the paper's 0.5..1); above 1 (up to 1.5 in the paper) it reaches boxes that do not overlap, which suits
            small objects.
        kind: "iou", "giou", "diou" or "ciou".
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``ratio`` is not above 0.

    Examples:
        >>> pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20]])
        >>> bw.losses.inner_iou_loss(pred, target)
        tensor([0.6154])
    """
    if ratio <= 0:
        raise ValueError(f"Expected ratio > 0 but got {ratio}")
    check_pairs(pred, target)
    inner = overlap(_scaled(pred, ratio), _scaled(target, ratio))
    penalty = overlap(pred, target) - overlap(pred, target, kind)
    return reduce_boxes(1 - inner + penalty, target, reduction)


def _eiou(pred: Tensor, target: Tensor) -> Tensor:
    def expression(pred: Tensor, target: Tensor) -> Tensor:
        return paired_iou(pred, target) - center_penalty(pred, target) - side_penalty(pred, target)

    return iou_less(pred, target, expression, center, sides)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Compute ``base ** exponent`` (exponent >= 0) with gradient 0 where the true one is infinite."""
    base = base.clamp(min=0)
    if exponent >= 1:
        return base.pow(exponent)
    usable = base > _LEAST_BASE
    return torch.where(usable, torch.where(usable, base, 1.0).pow(exponent), 0.0**exponent)


def _scaled(boxes: Tensor, ratio: float) -> Tensor:
    """Scale boxes (..., 4) about their centers."""
    first, second = boxes[..., :2], boxes[..., 2:]
    margin = (1 - ratio) / 2 * (second - first)
    return torch.cat([first + margin, second - margin], dim=-1)
