"""The gradients that the authors of DIoU wrote by hand for their simulation, as published, next to those of autograd.

They are not the derivatives of the losses (x, y the center; w, h the sides):

- The pull on w and h by IoU and GIoU is twice the derivative: left = x - w / 2 and right = x + w / 2 lack the 1 / 2.
- For disjoint boxes, GIoU uses the product of the signed overlaps in x and in y as the intersection, not 0. Where the
  boxes are side by side, that makes the union almost as large as the box around both, and the pull almost 0.
- rho2 / c2 of DIoU and CIoU pulls x and y as if the box around both grew where it shrinks, and counts its growth in w
  and in h twice, once with the other side.
- CIoU's pull on the aspect ratio lacks 1 / (w^2 + h^2).

They are gradients of the loss, to be subtracted, in columns (4, N) of cxcywh like the boxes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from boxwright.boxes import aspect_penalty, box_area, convert_boxes, enclosing_sides, paired_iou, safe_ratio

Gradient = Callable[[Tensor, Tensor], Tensor]
"""Maps boxes and targets (4, N) of cxcywh to the direction (4, N) that a step subtracts."""


def corners(boxes: Tensor) -> Tensor:
    """Convert columns (4, N) of cxcywh to xyxy (N, 4)."""
    return convert_boxes(boxes.T, "cxcywh", "xyxy")


def derivative(loss: Callable[[Tensor, Tensor], Tensor]) -> Gradient:
    """Return the gradient, by autograd, of a loss of xyxy boxes, (N, 4) and (N, 4) -> (N,)."""

    def gradient(boxes: Tensor, targets: Tensor) -> Tensor:
        """Compute the gradient (4, N) of boxes and targets (4, N)."""
        free = boxes.detach().requires_grad_()
        return torch.autograd.grad(loss(corners(free), corners(targets)).sum(), free)[0]

    return gradient


def authors_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Compute the authors' gradient of IoU, doubled on the sides."""
    return _twofold(derivative(lambda pred, target: 1 - paired_iou(pred, target))(boxes, targets))


def authors_giou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Compute the authors' gradient of GIoU with a signed intersection, doubled on the sides."""
    return _twofold(derivative(_signed_giou)(boxes, targets))


def authors_diou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Compute the gradient of IoU and the authors' own of rho2 / c2."""
    return authors_iou(boxes, targets) + _distance(boxes, targets)


def authors_ciou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Compute the gradient of DIoU and that of alpha v times w^2 + h^2."""
    return authors_diou(boxes, targets) + derivative(_aspect)(boxes, targets)


AUTHORS: dict[str, Gradient] = {
    gradient.__name__: gradient for gradient in (authors_iou, authors_giou, authors_diou, authors_ciou)
}


def _twofold(gradient: Tensor) -> Tensor:
    return torch.cat([gradient[:2], 2 * gradient[2:]])


def _signed_giou(pred: Tensor, target: Tensor) -> Tensor:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = pred.unbind(-1), target.unbind(-1)
    width = torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)
    height = torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    union = box_area(pred) + box_area(target) - width * height
    around = enclosing_sides(pred, target)
    return 2 - paired_iou(pred, target) - safe_ratio(union, around[0] * around[1])


def _aspect(pred: Tensor, target: Tensor) -> Tensor:
    return aspect_penalty(pred, target, paired_iou(pred, target), scaled_gradient=True)


def _distance(boxes: Tensor, targets: Tensor) -> Tensor:
    pred, target = corners(boxes), corners(targets)
    offset = boxes[:2] - targets[:2]
    sides = torch.stack(enclosing_sides(pred, target))
    rho2, c2, both = offset.square().sum(0), sides.square().sum(0), sides.sum(0)
    before = (pred < target).T[:2].to(boxes.dtype)  # sticks out to the left; at the top
    after = (pred > target).T[2:].to(boxes.dtype)
    move = (2 * offset * c2 + 2 * (after - before) * both * rho2) / c2.square()
    covers = before * after > 0
    grow = torch.where(covers, 2 * (sides.flip(0) - sides), (before + after) * both)
    return torch.cat([move, -grow * rho2 / c2.square()])
