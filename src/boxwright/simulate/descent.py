"""Boxes that go down a loss: step = learning rate x (2 - IoU) x gradient (arXiv 1911.08287, algorithm 1)."""

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
"""A side that a step would make shorter is set to this, a thousandth of the side of a square target."""


def gradient_of(name: str) -> Gradient:
    """The gradient of a box loss as recipes name it (``"ciou:variant=tpami"``), or one of the authors' own.

    Raises RecipeError for an unknown name, an option that doesn't fit, and a loss that compares deltas.
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
    """The boxes (4, N) and their IoU (N,) at the start and after each step. Columns of cxcywh."""
    wanted, boxes = corners(targets), anchors
    for step in range(steps + 1):
        iou = paired_iou(corners(boxes), wanted)
        yield boxes, iou
        if step < steps:
            boxes = boxes - learning_rate(step) * (2 - iou) * gradient(boxes, targets)
            boxes[2:].clamp_(min=LEAST_SIDE)


def trace(loss: str, anchors: ArrayLike, targets: ArrayLike, steps: int = STEPS) -> NDArray[np.float64]:
    """The way of single boxes, (steps + 1, N, 4) from anchors and targets (N, 4), all cxcywh, in float64.

    ``loss`` as in ``simulate``. Raises RecipeError as that does.
    """
    starts, wanted = (
        torch.as_tensor(np.asarray(boxes, dtype=np.float64)).reshape(-1, 4).T for boxes in (anchors, targets)
    )
    way = [boxes.T for boxes, _ in descend(gradient_of(loss), starts, wanted, steps)]
    return torch.stack(way).numpy()
