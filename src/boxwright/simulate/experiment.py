"""The whole experiment: every case under every loss, summed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.errors import RecipeError
from boxwright.simulate.authors import Gradient
from boxwright.simulate.cases import CASES_A_CENTER, CENTERS, STEPS, make_cases, make_centers
from boxwright.simulate.descent import LEAST_SIDE, descend, gradient_of

LOSSES = ("iou", "giou", "diou", "ciou", "eiou")
GOOD_IOU = 0.9
_CHUNK = 48  # centers at a time: few enough that a step's tensors stay in the processor's cache


@dataclass(frozen=True)
class Regression:
    """The result of all cases under one loss. The error of a case is |dx| + |dy| + |dw| + |dh|."""

    errors: NDArray[np.float64]
    """(steps + 1, 4) sums over the cases of |dx|, |dy|, |dw| and |dh|, including the start."""
    iou: NDArray[np.float64]
    """(steps + 1,) mean IoU with the target."""
    final: NDArray[np.float64]
    """(P,) mean final error of the cases of each center."""
    good: float
    """Share of the cases with a final IoU of at least 0.9."""
    disjoint: float
    """Share of the cases that end without touching their target."""
    floored: int
    """Number of sides, over all cases and steps, that were set to the minimum, 0.001."""
    seconds: float

    @property
    def error(self) -> NDArray[np.float64]:
        """(steps + 1,) sum of the cases' errors: the curve of the paper's figure 3."""
        return np.asarray(self.errors.sum(axis=1))


@dataclass(frozen=True)
class Simulation:
    """The experiment under each loss, in the given order."""

    centers: NDArray[np.float64]
    """(P, 2) x and y of the anchors."""
    losses: dict[str, Regression]

    @property
    def cases(self) -> int:
        """The number of cases."""
        return len(self.centers) * CASES_A_CENTER


def simulate(
    losses: Sequence[str] = LOSSES,
    *,
    centers: int = CENTERS,
    steps: int = STEPS,
    seed: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Simulation:
    """Let ``centers`` x 343 anchors descend each loss towards their targets, and sum their errors.

    The defaults are the full experiment, 1,715,000 cases; fewer centers give a smaller version of it.

    Args:
        losses: Box losses as recipes name them (``"ciou:variant=tpami"``), with autograd's gradient; or authors_iou,
            authors_giou, authors_diou, authors_ciou, the gradients of the DIoU authors' code.
        centers: Number of centers.
        steps: Steps of each case.
        seed: Seed of the centers.
        advance: Called with the number of centers done.

    Raises:
        RecipeError: For a loss that cannot be simulated, before anything is computed.
        ValueError: Unless centers and steps are at least 1.
    """
    if centers < 1 or steps < 1:
        raise ValueError(f"Expected at least one center and one step but got {centers} and {steps}")
    if not losses:
        raise RecipeError("Expected at least one loss to simulate")
    gradients = {name: gradient_of(name) for name in losses}
    places = make_centers(centers, seed)
    found: dict[str, Regression] = {}

    def tell(done: int) -> None:
        """Report the centers done over all losses."""
        advance(len(found) * centers + done, len(gradients) * centers)

    for name, gradient in gradients.items():
        found[name] = _regress(gradient, places, steps, tell)
    return Simulation(places.T.double().numpy(), found)


def _regress(gradient: Gradient, centers: Tensor, steps: int, advance: Callable[[int], None]) -> Regression:
    started = time.perf_counter()
    count = centers.shape[1]
    cases = count * CASES_A_CENTER
    errors = torch.zeros(steps + 1, 4, dtype=torch.float64)
    overlap = torch.zeros(steps + 1, dtype=torch.float64)
    final, good, disjoint, floored = [], 0, 0, 0
    for start in range(0, count, _CHUNK):
        anchors, targets = make_cases(centers[:, start : start + _CHUNK])
        for step, (boxes, iou) in enumerate(descend(gradient, anchors, targets, steps)):
            off = (boxes - targets).abs_()
            errors[step] += off.sum(1)
            overlap[step] += iou.sum()
            floored += int((boxes[2:] <= LEAST_SIDE).sum())
        final.append(off.sum(0).reshape(-1, CASES_A_CENTER).mean(1).double())
        good += int((iou >= GOOD_IOU).sum())
        disjoint += int((iou == 0).sum())
        advance(min(start + _CHUNK, count))
    return Regression(
        errors=errors.numpy(),
        iou=(overlap / cases).numpy(),
        final=torch.cat(final).numpy(),
        good=good / cases,
        disjoint=disjoint / cases,
        floored=floored,
        seconds=time.perf_counter() - started,
    )
