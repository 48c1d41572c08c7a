"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from boxwright.parts import optimizer


@optimizer
def adamw(groups: list[dict[str, Any]], lr: float, betas: Sequence[float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101)."""
    first, second = betas
    return torch.optim.AdamW(groups, lr=lr, betas=(first, second), fused=_fused(groups))


@optimizer
def sgd(
    groups: list[dict[str, Any]], lr: float, momentum: float = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=_fused(groups))


def _fused(groups: list[dict[str, Any]]) -> bool | None:
    """One kernel for all weights of a GPU, which leaves out a step with ``found_inf`` too; None: torch's own choice."""
    return any(p.is_cuda for group in groups for p in group["params"]) or None
