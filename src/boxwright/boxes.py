"""Arithmetic of boxes: conversion, area, overlap.

Boxes are xyxy in continuous coordinates (no + 1). Everything is computed in at least float32, and value and gradient
are finite for every finite box: a quotient whose denominator vanishes is 0, not NaN, and a side or distance beyond 1e18
counts as 1e18, without gradient. A box of NaN overlaps nothing.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import threshold

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
OverlapKind = Literal["iou", "giou", "diou", "ciou"]

# Areas below this count as none: the gradient of a quotient by one would leave float32.
VANISHING = 1e-30
# Sides and distances beyond this count as this: areas and squares stay within float32.
LARGEST = 1e18


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` as float32, or as it is if float64. Its gradient is kept within the range of ``x``'s own type."""
    if x.dtype in (torch.float32, torch.float64):
        return x
    raised = x.float()
    if raised.requires_grad:
        limit = torch.finfo(x.dtype).max
        raised.register_hook(lambda grad: grad.clamp(-limit, limit))  # type: ignore[no-untyped-call]
    return raised


def convert_boxes(boxes: Tensor, source: BoxFormat, target: BoxFormat) -> Tensor:
    """Boxes (..., 4) from one format to another: corners, corner and size, or centre and size.

    Raises ValueError for a format that is none of xyxy, xywh, cxcywh.
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
    """Areas (...) of boxes (..., 4); 0 for inverted ones."""
    width, height = box_sides(at_least_float32(boxes))
    return width * height


def box_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height (...) of boxes (..., 4); 0 for inverted ones."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1).clamp(0.0, LARGEST), (y2 - y1).clamp(0.0, LARGEST)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut boxes (..., 4) to an image of ``size`` (H, W)."""
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def clip_boxes_of_images(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Cut boxes (B, n, 4) to images of ``sizes`` (B, 2), H and W."""
    most = sizes.flip(1).repeat(1, 2).unsqueeze(1).to(boxes)  # (B, 1, 4): W H W H
    return boxes.clamp(min=0).minimum(most)


def box_iou(targets: Tensor, anchors: Tensor, kind: OverlapKind = "iou") -> Tensor:
    """Overlap of every target with every anchor, (..., G, 4) and (..., A, 4) -> (..., G, A), rows first.

    Raises ValueError for an unknown ``kind`` or boxes without 4 coordinates; see ``paired_iou`` for the kinds.
    """
    return paired_iou(targets.unsqueeze(-2), anchors.unsqueeze(-3), kind)


def paired_iou(a: Tensor, b: Tensor, kind: OverlapKind = "iou") -> Tensor:
    """Overlap of boxes row by row, (..., 4) and (..., 4) -> (...); leading dimensions broadcast.

    ``kind``: "iou"; "giou" (Rezatofighi et al. 2019, in -1..1); "diou" and "ciou" (Zheng et al. 2020, AAAI form, alpha
    constant in the gradient). Two boxes without area overlap by 0. Raises ValueError for another kind or shape.
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
        overlap = iou - centre_penalty(a, b)
        return overlap - aspect_penalty(a, b, iou) if kind == "ciou" else overlap
    return iou


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Shared area (...) of boxes (..., 4) and (..., 4)."""
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    width = torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)
    height = torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    return width.clamp(0.0, LARGEST) * height.clamp(0.0, LARGEST)


def enclosing_sides(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height (...) of the smallest box around both."""
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    width = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    height = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    return width.clamp(-LARGEST, LARGEST), height.clamp(-LARGEST, LARGEST)


def centre_offset(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Way in x and in y (...) from the centre of ``b`` to that of ``a``."""
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    x, y = (ax1 + ax2 - bx1 - bx2) / 2, (ay1 + ay2 - by1 - by2) / 2
    return x.clamp(-LARGEST, LARGEST), y.clamp(-LARGEST, LARGEST)


def enclosing_penalty(a: Tensor, b: Tensor, union: Tensor) -> Tensor:
    """(C - U) / C of GIoU (Rezatofighi et al. 2019, algorithm 1): the empty part of the smallest box around both."""
    width, height = enclosing_sides(a, b)
    area = width * height
    return safe_ratio(area - union, area)


def centre_penalty(a: Tensor, b: Tensor) -> Tensor:
    """rho2 / c2 of DIoU (Zheng et al. 2020, eq. 6): squared distance of the centres over the enclosing diagonal's."""
    dx, dy = centre_offset(a, b)
    width, height = enclosing_sides(a, b)
    return distance_ratio(dx * dx + dy * dy, width * width + height * height)


def side_penalty(a: Tensor, b: Tensor) -> Tensor:
    """Squared differences of width and of height over the enclosing box's (EIoU, Zhang et al., arXiv 2101.08158)."""
    a_sides, b_sides, enclosing = box_sides(a), box_sides(b), enclosing_sides(a, b)
    width, height = ((p - q) ** 2 for p, q in zip(a_sides, b_sides, strict=True))
    return safe_ratio(width, enclosing[0] ** 2) + safe_ratio(height, enclosing[1] ** 2)


def aspect_penalty(a: Tensor, b: Tensor, iou: Tensor, gate: float = 0.0, scaled_gradient: bool = False) -> Tensor:
    """alpha v of CIoU (Zheng et al. 2020, eq. 8-11): v compares the aspect ratios, alpha = v / (1 - IoU + v) weighs it.

    alpha is constant in the gradient, and 0 where ``iou`` is below ``gate`` (0.5 in the TPAMI paper, eq. 9).
    ``scaled_gradient`` multiplies the gradient of v in ``a`` by w^2 + h^2, which removes its denominator (after eq. 12
    there); the value stays.
    """
    angle = _aspect_angle(a)
    if scaled_gradient:  # d atan(w / h) = (h dw - w dh) / (w^2 + h^2): keep the numerator, whose own value is 0
        width, height = box_sides(a)
        angle = angle.detach() + (height.detach() * width - width.detach() * height)
    v = (4 / math.pi**2) * (angle - _aspect_angle(b)) ** 2
    alpha = safe_ratio(v.detach(), 1 - iou.detach() + v.detach())
    return torch.where(iou.detach() >= gate, alpha, 0.0) * v


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, 0 with gradient 0 where the denominator vanishes.

    The denominator is replaced before the division: masking the result alone would still give 0 * inf in the gradient.
    """
    usable = denominator > VANISHING
    return torch.where(usable, numerator / torch.where(usable, denominator, 1.0), 0.0)


def distance_ratio(distance: Tensor, enclosing: Tensor) -> Tensor:
    """Squared distance of two centres over the squared size of the box around both, at most 4.

    It is 1 at most but for boxes turned inside out, whose centre may lie anywhere.
    """
    return safe_ratio(distance, torch.maximum(enclosing, distance.detach() / 4))


class Corners(NamedTuple):
    """A boxes that many others are compared with, coordinate by coordinate, as a processor reads them soonest.

    What isn't finite is a point here and has no area, so that it overlaps nothing.
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
        """The boxes from ``start`` on, up to ``stop``."""
        return Corners(*(column[start:stop] for column in self))

    def usable(self, place: Tensor | slice) -> Tensor:
        """(...) bool: which of these boxes (...) are finite."""
        x1 = self.boxes[place, 0]
        return x1 == x1

    def overlap(self, others: Tensor, over: Literal["union", "own"] = "union") -> Tensor:
        """IoU (..., A) of other boxes (..., 4) with these, without gradient; ``box_iou`` to the last bit.

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
        # ``safe_ratio`` with nothing masked: x / inf is 0
        return shared.div_(threshold(whole, VANISHING, math.inf, inplace=True))


def _iou_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    shared = intersection(a, b)
    union = box_area(a) + box_area(b) - shared
    return safe_ratio(shared, union), union


def _aspect_angle(boxes: Tensor) -> Tensor:
    """atan(w / h), defined for h = 0; a point box counts as a square."""
    width, height = box_sides(boxes)
    usable = width * width + height * height > VANISHING
    return torch.atan2(torch.where(usable, width, 1.0), torch.where(usable, height, 1.0))
