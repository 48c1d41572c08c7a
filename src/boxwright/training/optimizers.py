"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from boxwright._util.devices import on_host
from boxwright.parts import optimizer


@optimizer
def adamw(groups: list[dict[str, Any]], lr: float, betas: Sequence[float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101)."""
    first, second = betas
    fused = _fused(groups)
    return torch.optim.AdamW(groups, lr=lr, betas=(first, second), fused=fused, foreach=not fused)


@optimizer
def sgd(
    groups: list[dict[str, Any]], lr: float, momentum: float = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    fused = _fused(groups)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused, foreach=not fused)


def _fused(groups: list[dict[str, Any]]) -> bool:
    """Whether one kernel makes the step of all weights, which leaves it out with ``found_inf`` too: on accelerators.

    On the CPU, where it rounds otherwise, a call for all weights makes each part of the step.
    """
    return not all(on_host(p) for group in groups for p in group["params"])
