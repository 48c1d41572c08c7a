"""Losses whose slopes are written down beside their values: a backward pass without a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class WithSlope(torch.autograd.Function):
    """Values (..., K), or one for each row (...), of predictions (..., K): ``evaluate`` gives them and their slopes.

    The gradient is computed in the forward pass and handed out by the first backward pass, scaled in place: a loss
    costs one tensor of the predictions' size. A second pass through a kept graph computes it again. A gradient that is
    itself to be differentiated is that of ``expression``, the same values as torch differentiates them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pred: Tensor,
        evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
        expression: Callable[[Tensor], Tensor],
    ) -> Tensor:
        value, slope = evaluate(pred)
        ctx.save_for_backward(pred)
        ctx.evaluate, ctx.expression = evaluate, expression
        ctx.slope = slope if ctx.needs_input_grad[0] else None
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (pred,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            (slope,) = torch.autograd.grad(ctx.expression(pred), pred, grad, create_graph=True)
            return slope, None, None
        slope, ctx.slope = ctx.slope, None
        if slope is None:
            _, slope = ctx.evaluate(pred)
        return slope.mul_(grad if grad.ndim == slope.ndim else grad.unsqueeze(-1)), None, None
