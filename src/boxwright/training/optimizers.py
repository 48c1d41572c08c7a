"""Optimizers by name: one kernel updates all weights, and skips the step where ``found_inf`` says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from boxwright.choices import naming_failures, required
from boxwright.errors import RecipeError
from boxwright.parts import optimizer


def make_optimizer(choice: str, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """Make the optimizer that a recipe names; raises RecipeError for a custom one that fails, or makes none."""
    with naming_failures("optimizer", choice):
        made = required("optimizer", choice)(groups, lr=lr)
    if not isinstance(made, torch.optim.Optimizer):
        raise RecipeError(
            f"Expected optimizer={choice} to return a torch.optim.Optimizer but got {type(made).__name__}"
        )
    return made


@optimizer
def adamw(groups: list[dict[str, Any]], lr: float, betas: Sequence[float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    """Build AdamW (arXiv:1711.05101)."""
    first, second = betas
    return torch.optim.AdamW(groups, lr=lr, betas=(first, second), fused=True)


@optimizer
def sgd(
    groups: list[dict[str, Any]], lr: float, momentum: float = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Build stochastic gradient descent with momentum."""
    made = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    if momentum:
        for weight in (weight for group in made.param_groups for weight in group["params"]):
            # torch's own starts with uninitialized memory, which would stay if fp16 skips the first step
            made.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return made
