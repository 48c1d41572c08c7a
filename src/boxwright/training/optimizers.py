"""Optimizers by name: one kernel makes the step of all weights, and leaves it out where ``found_inf`` says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from boxwright.parts import optimizer


@optimizer
def adamw(groups: list[dict[str, Any]], lr: float, betas: Sequence[float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101)."""
    first, second = betas
    return torch.optim.AdamW(groups, lr=lr, betas=(first, second), fused=True)


@optimizer
def sgd(
    groups: list[dict[str, Any]], lr: float, momentum: float = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    made = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    if momentum:
        for weight in (weight for group in made.param_groups for weight in group["params"]):
            # torch's own begins with memory as it finds it, which stays so where fp16 leaves the first step out
            made.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return made
