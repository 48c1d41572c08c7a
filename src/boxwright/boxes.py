"""Arithmetic of boxes: conversion, area, overlap.

Boxes are xyxy in continuous coordinates (no + 1). Everything is computed in at least float32, and value and gradient
are finite for every finite box: a quotient with denominator 0 is 0, not NaN, and a side or distance beyond 1e18
counts as 1e18, without gradient. A box with NaN overlaps nothing.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
OverlapKind = Literal["iou", "giou", "diou", "ciou"]

# Areas below this count as 0: the gradient of a quotient by one would overflow float32.
VANISHING = 1e-30
# Sides and distances are limited to this, so that areas and squares stay within float32.
LARGEST = 1e18


def at_least_float32(x: Tensor) -> Tensor:
    """Return ``x`` as float32, or unchanged if float64, with its gradient kept within the range of ``x``'s own type.

    Examples:
        >>> bw.boxes.at_least_float32(torch.zeros(2, dtype=torch.float16)).dtype
        torch.float32
    """
    if x.dtype in (torch.float32, torch.float64):
        return x
    raised = x.float()
    if raised.requires_grad:
        limit = torch.finfo(x.dtype).max
        raised.register_hook(lambda grad: grad.clamp(-limit, limit))  # type: ignore[no-untyped-call]
    return raised


def convert_boxes(boxes: Tensor, source: BoxFormat, target: BoxFormat) -> Tensor:
    """Convert boxes (..., 4) between formats: corners (xyxy), corner and size (xywh), or center and size (cxcywh).

    Raises:
        ValueError: If a format is unknown.

    Examples:
        >>> bw.boxes.convert_boxes(torch.tensor([10.0, 20, 30, 60]), "xyxy", "cxcywh")
        tensor([20., 40., 20., 40.])
    """
    for name in (source, target):
        if name not in get_args(BoxFormat):
            raise ValueError(f"Expected a box format out of {get_args(BoxFormat)} but got {name!r}")
    if source == target:
        return boxes.clone()
    first, second = boxes[..., :2], boxes[..., 2:]
    if source == "xywh":
        second = first + second
    elif source == "cxcywh":
        first, second = first - second / 2, first + second / 2
    if target == "xywh":
        second = second - first
    elif target == "cxcywh":
        first, second = (first + second) / 2, second - first
    return torch.cat([first, second], dim=-1)


def box_area(boxes: Tensor) -> Tensor:
    """Compute the areas (...) of boxes (..., 4); 0 for inverted ones.

    Examples:
        >>> bw.boxes.box_area(torch.tensor([10.0, 20, 30, 60]))
        tensor(800.)
    """
    width, height = box_sides(at_least_float32(boxes))
    return width * height


def box_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Compute widths and heights (...) of boxes (..., 4); 0 for inverted ones.

    Examples:
        >>> bw.boxes.box_sides(torch.tensor([10.0, 20, 30, 60]))
        (tensor(20.), tensor(40.))
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1).clamp(0.0, LARGEST), (y2 - y1).clamp(0.0, LARGEST)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip boxes (..., 4) to an image of ``size`` (H, W).

    Examples:
        >>> bw.boxes.clip_boxes(torch.tensor([-10.0, 20, 130, 60]), (50, 100))
        tensor([  0.,  20., 100.,  50.])
    """
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def clip_boxes_of_images(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Clip boxes (B, n, 4) to images of ``sizes`` (B, 2), H and W.

    Examples:
        >>> bw.boxes.clip_boxes_of_images(torch.tensor([[[-10.0, 20, 130, 60]]]), torch.tensor([[50, 100]]))
        tensor([[[  0.,  20., 100.,  50.]]])
    """
    most = sizes.flip(1).repeat(1, 2).unsqueeze(1).to(boxes)  # (B, 1, 4): W H W H
    return boxes.clamp(min=0).minimum(most)


def box_iou(targets: Tensor, anchors: Tensor, kind: OverlapKind = "iou") -> Tensor:
    """Compute the overlap of every target with every anchor, (..., G, 4) and (..., A, 4) -> (..., G, A).

    Raises:
        ValueError: If ``kind`` is unknown or boxes do not have 4 coordinates; see ``paired_iou`` for the kinds.

    Examples:
        >>> targets, anchors = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 20], [5, 0, 15, 10]])
        >>> bw.boxes.box_iou(targets, anchors)
        tensor([[0.5000, 0.3333]])
    """
    return paired_iou(targets.unsqueeze(-2), anchors.unsqueeze(-3), kind)


def paired_iou(a: Tensor, b: Tensor, kind: OverlapKind = "iou") -> Tensor:
    """Compute the overlap of boxes row by row, (..., 4) and (..., 4) -> (...); leading dimensions broadcast.

    Args:
        a: Boxes (..., 4).
        b: Boxes (..., 4).
        kind: "iou"; "giou" (Rezatofighi et al. 2019, in -1..1); "diou" or "ciou" (Zheng et al. 2020, AAAI version,
            alpha constant in the gradient). Two boxes without area have overlap 0.

    Raises:
        ValueError: If the kind is unknown or a shape is wrong.

    Examples:
        >>> bw.boxes.paired_iou(torch.tensor([0.0, 0, 10, 10]), torch.tensor([[0.0, 0, 10, 20], [5, 0, 15, 10]]))
        tensor([0.5000, 0.3333])
    """
    if kind not in get_args(OverlapKind):
        raise ValueError(f"Expected an overlap kind out of {get_args(OverlapKind)} but got {kind!r}")
    for boxes in (a, b):
        if boxes.shape[-1:] != (4,):
            raise ValueError(f"Expected boxes of shape (..., 4) but got {tuple(boxes.shape)}")
    a, b = at_least_float32(a), at_least_float32(b)
    iou, union = _iou_and_union(a, b)
    if kind == "giou":
        return iou - enclosing_penalty(a, b, union)
    if kind in ("diou", "ciou"):
        overlap = iou - center_penalty(a, b)
        return overlap - aspect_penalty(a, b, iou) if kind == "ciou" else overlap
    return iou


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection area (...) of boxes (..., 4) and (..., 4).

    Examples:
        >>> bw.boxes.intersection(torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 5, 15, 15]))
        tensor(25.)
    """
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    width = torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)
    height = torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    return width.clamp(0.0, LARGEST) * height.clamp(0.0, LARGEST)


def enclosing_sides(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compute width and height (...) of the smallest box around both.

    Examples:
        >>> bw.boxes.enclosing_sides(torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 5, 15, 25]))
        (tensor(15.), tensor(25.))
    """
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    width = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    height = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    return width.clamp(-LARGEST, LARGEST), height.clamp(-LARGEST, LARGEST)


def center_offset(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the offset in x and in y (...) from the center of ``b`` to that of ``a``.

    Examples:
        >>> bw.boxes.center_offset(torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 5, 15, 25]))
        (tensor(-5.), tensor(-10.))
    """
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    x, y = (ax1 + ax2 - bx1 - bx2) / 2, (ay1 + ay2 - by1 - by2) / 2
    return x.clamp(-LARGEST, LARGEST), y.clamp(-LARGEST, LARGEST)


def enclosing_penalty(a: Tensor, b: Tensor, union: Tensor) -> Tensor:
    """Compute the penalty of GIoU, (C - U) / C: the empty part of the smallest box C around both.

    Source: Rezatofighi et al. 2019, algorithm 1.

    Examples:
        >>> a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([20.0, 0, 30, 10])
        >>> bw.boxes.enclosing_penalty(a, b, union=torch.tensor(200.0))
        tensor(0.3333)
    """
    width, height = enclosing_sides(a, b)
    area = width * height
    return safe_ratio(area - union, area)


def center_penalty(a: Tensor, b: Tensor) -> Tensor:
    """Compute the penalty of DIoU, rho2 / c2: squared center distance over the enclosing box's squared diagonal.

    Source: Zheng et al. 2020, eq. 6.

    Examples:
        >>> bw.boxes.center_penalty(torch.tensor([0.0, 0, 10, 10]), torch.tensor([20.0, 0, 30, 10]))
        tensor(0.4000)
    """
    dx, dy = center_offset(a, b)
    width, height = enclosing_sides(a, b)
    return distance_ratio(dx * dx + dy * dy, width * width + height * height)


def side_penalty(a: Tensor, b: Tensor) -> Tensor:
    """Compute the side penalty of EIoU: squared differences of width and height over the enclosing box's.

    Source: Zhang et al., arXiv 2101.08158.

    Examples:
        >>> bw.boxes.side_penalty(torch.tensor([0.0, 0, 10, 10]), torch.tensor([0.0, 0, 10, 20]))
        tensor(0.2500)
    """
    a_sides, b_sides, enclosing = box_sides(a), box_sides(b), enclosing_sides(a, b)
    width, height = ((p - q) ** 2 for p, q in zip(a_sides, b_sides, strict=True))
    return safe_ratio(width, enclosing[0] ** 2) + safe_ratio(height, enclosing[1] ** 2)


def aspect_penalty(a: Tensor, b: Tensor, iou: Tensor, gate: float = 0.0, scaled_gradient: bool = False) -> Tensor:
    """Compute the aspect penalty of CIoU, alpha v, with v comparing aspect ratios and alpha = v / (1 - IoU + v).

    Source: Zheng et al. 2020, eq. 8-11. alpha is constant in the gradient.

    Args:
        a: Predicted boxes (..., 4).
        b: Target boxes (..., 4).
        iou: Their IoU (...).
        gate: alpha is 0 where ``iou`` is below this (0.5 in the TPAMI paper, eq. 9).
        scaled_gradient: Multiply the gradient of v in ``a`` by w^2 + h^2, which removes its denominator (after eq. 12
            there); the value is unchanged.

    Examples:
        >>> a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([0.0, 0, 10, 20])
        >>> bw.boxes.aspect_penalty(a, b, iou=torch.tensor(0.5))
        tensor(0.0032)
    """
    angle = _aspect_angle(a)
    if scaled_gradient:  # d atan(w / h) = (h dw - w dh) / (w^2 + h^2): keep the numerator, whose own value is 0
        width, height = box_sides(a)
        angle = angle.detach() + (height.detach() * width - width.detach() * height)
    v = (4 / math.pi**2) * (angle - _aspect_angle(b)) ** 2
    alpha = safe_ratio(v.detach(), 1 - iou.detach() + v.detach())
    return torch.where(iou.detach() >= gate, alpha, 0.0) * v


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, with result and gradient 0 where the denominator vanishes.

    The denominator is replaced before the division: masking the result alone would still give 0 * inf in the gradient.

    Examples:
        >>> bw.boxes.safe_ratio(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]))
        tensor([0.5000, 0.0000])
    """
    usable = denominator > VANISHING
    return torch.where(usable, numerator / torch.where(usable, denominator, 1.0), 0.0)


def distance_ratio(distance: Tensor, enclosing: Tensor) -> Tensor:
    """Compute the squared distance of two centers over the squared size of the box around both, at most 4.

    It exceeds 1 only for boxes turned inside out, whose center may be anywhere.

    Examples:
        >>> bw.boxes.distance_ratio(torch.tensor(10.0), torch.tensor(20.0))
        tensor(0.5000)
    """
    return safe_ratio(distance, torch.maximum(enclosing, distance.detach() / 4))


class Corners(NamedTuple):
    """Boxes that many others are compared with, one tensor per coordinate for fast access.

    Boxes that are not finite become points without area here, so that they overlap nothing.
    """

    boxes: Tensor
    """(A, 4) in at least float32, NaN throughout where not finite."""
    x1: Tensor
    """(A,), as are the others."""
    y1: Tensor
    x2: Tensor
    y2: Tensor
    area: Tensor

    def part(self, start: int, stop: int) -> Corners:
        """Return the boxes from ``start`` up to ``stop``."""
        return Corners(*(column[start:stop] for column in self))

    def usable(self, place: Tensor | slice) -> Tensor:
        """Tell which of these boxes (...) are finite."""
        x1 = self.boxes[place, 0]
        return x1 == x1

    def overlap(self, others: Tensor, over: Literal["union", "own"] = "union") -> Tensor:
        """Compute the IoU (..., A) of other boxes (..., 4) with these, without gradient; bit for bit ``box_iou``.

        ``over`` "own": the share of these boxes' own area that the others cover.
        """
        x1, y1, x2, y2 = others.unsqueeze(-2).unbind(-1)  # (..., 1) each
        width = torch.minimum(x2, self.x2).sub_(torch.maximum(x1, self.x1)).clamp_(0, LARGEST)
        height = torch.minimum(y2, self.y2).sub_(torch.maximum(y1, self.y1)).clamp_(0, LARGEST)
        shared = width.mul_(height)
        if over == "own":
            whole = self.area.clone()
        else:
            area = (x2 - x1).clamp_(0, LARGEST).mul_((y2 - y1).clamp_(0, LARGEST))
            whole = (area + self.area).sub_(shared)
        # the same as ``safe_ratio`` without masking: x / inf is 0
        return shared.div_(torch.threshold_(whole, VANISHING, math.inf))


def _iou_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    shared = intersection(a, b)
    union = box_area(a) + box_area(b) - shared
    return safe_ratio(shared, union), union


def _aspect_angle(boxes: Tensor) -> Tensor:
    """Compute atan(w / h), defined for h = 0 too; a point counts as a square."""
    width, height = box_sides(boxes)
    usable = width * width + height * height > VANISHING
    return torch.atan2(torch.where(usable, width, 1.0), torch.where(usable, height, 1.0))
