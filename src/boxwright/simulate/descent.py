"""Boxes that descend a loss: step = learning rate x (2 - IoU) x gradient (arXiv 1911.08287, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from boxwright.boxes import paired_iou
from boxwright.choices import resolve_choice
from boxwright.errors import RecipeError
from boxwright.parts import box_loss_info
from boxwright.simulate.authors import AUTHORS, Gradient, corners, derivative
from boxwright.simulate.cases import STEPS, learning_rate
from boxwright.text import did_you_mean

LEAST_SIDE = 1e-3
"""Shorter sides are set to this, a thousandth of the side of a square target."""


def gradient_of(name: str) -> Gradient:
    """Return the gradient of a box loss as recipes name it (``"ciou:variant=tpami"``), or one of the authors' own.

    Raises:
        RecipeError: For an unknown name, an option that does not fit, and a loss that compares deltas.
    """
    if name in AUTHORS:
        return AUTHORS[name]
    if name.startswith("authors_"):
        raise RecipeError(f"unknown gradient {name!r}{did_you_mean(name, AUTHORS)}")
    loss = resolve_choice("box_loss", name)
    if loss is None or box_loss_info(loss).space != "boxes":
        raise RecipeError(f"box_loss {name!r} compares deltas; the simulation moves boxes: take iou, giou, diou, ...")
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    try:
        loss(box, box)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"box_loss {name!r}: {error}") from None
    return derivative(loss)


def descend(gradient: Gradient, anchors: Tensor, targets: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the boxes (4, N), in columns of cxcywh, and their IoU (N,) at the start and after each step."""
    wanted, boxes = corners(targets), anchors
    for step in range(steps + 1):
        iou = paired_iou(corners(boxes), wanted)
        yield boxes, iou
        if step < steps:
            boxes = boxes - learning_rate(step) * (2 - iou) * gradient(boxes, targets)
            boxes[2:].clamp_(min=LEAST_SIDE)


def trace(loss: str, anchors: ArrayLike, targets: ArrayLike, steps: int = STEPS) -> NDArray[np.float64]:
    """Record the path of single boxes, (steps + 1, N, 4), from anchors and targets (N, 4), all cxcywh, in float64.

    ``loss`` is as in ``simulate``.

    Raises:
        RecipeError: As ``simulate`` does.
    """
    starts, wanted = (
        torch.as_tensor(np.asarray(boxes, dtype=np.float64)).reshape(-1, 4).T for boxes in (anchors, targets)
    )
    way = [boxes.T for boxes, _ in descend(gradient_of(loss), starts, wanted, steps)]
    return torch.stack(way).numpy()
