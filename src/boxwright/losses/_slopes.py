"""Losses that compute their slopes together with their values: a backward pass without a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class WithSlope(torch.autograd.Function):
    """Loss of predictions (..., K), values (..., K) or (...), whose slopes ``evaluate`` computes in the forward pass.

    The first backward pass returns these slopes, scaled in place, so a loss costs one tensor of the predictions' size.
    A second pass through a kept graph computes them again. For double backward torch differentiates ``expression``,
    which has the same values.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pred: Tensor,
        evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
        expression: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Return the values of ``evaluate`` and keep its slopes for the backward pass."""
        value, slope = evaluate(pred)
        ctx.save_for_backward(pred)
        ctx.evaluate, ctx.expression = evaluate, expression
        ctx.slope = slope if ctx.needs_input_grad[0] else None
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Scale the kept slopes by ``grad``."""
        (pred,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            (slope,) = torch.autograd.grad(ctx.expression(pred), pred, grad, create_graph=True)
            return slope, None, None
        slope, ctx.slope = ctx.slope, None
        if slope is None:
            _, slope = ctx.evaluate(pred)
        return slope.mul_(grad if grad.ndim == slope.ndim else grad.unsqueeze(-1)), None, None
