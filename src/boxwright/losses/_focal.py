"""Sigmoid focal loss on class indices as one autograd function: no one-hot targets, few temporaries.

With f(x) = sigmoid(x)^gamma softplus(x), a negative costs f(x) and a positive f(-x), each times its weight. The slope
f'(x) = sigmoid(x)^(gamma + 1) + gamma (1 - sigmoid(x)) f(x) is written along with the value.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Elements of a block: temporaries stay within a processor's cache. A GPU wants few, large kernels.
_BLOCK = 1 << 17
_BLOCK_ON_DEVICE = 1 << 24

# From here on softplus(x) is x: even float64 knows no difference.
_LINEAR = 40.0


class SigmoidFocal(torch.autograd.Function):
    """Losses (N, K), or their sums (N,) if ``rows``, of logits (N, K) and targets int64 (N,); weights are () or (K,).

    The gradient is computed in the forward pass and handed out by the first backward pass, scaled in place: a loss
    costs one tensor of the logits' size. A second pass through a kept graph computes it again. Raises RuntimeError for
    a gradient that is itself to be differentiated.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float, rows: bool
    ) -> Tensor:
        value, slope = _evaluate(logits, targets, positive, negative, gamma, rows)
        ctx.save_for_backward(logits, targets, positive, negative)
        ctx.gamma, ctx.rows, ctx.slope = gamma, rows, slope if ctx.needs_input_grad[0] else None
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph
            raise RuntimeError(
                "Expected sigmoid_focal_loss on class indices to be differentiated once but got create_graph=True: "
                "pass the targets as float (N, K)"
            )
        slope, ctx.slope = ctx.slope, None
        if slope is None:
            logits, targets, positive, negative = ctx.saved_tensors
            _, slope = _evaluate(logits, targets, positive, negative, ctx.gamma, ctx.rows)
        return slope.mul_(grad.unsqueeze(-1) if ctx.rows else grad), None, None, None, None, None


def _evaluate(
    logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float, rows: bool
) -> tuple[Tensor, Tensor]:
    """Values (N,) or (N, K), and slopes (N, K)."""
    value = logits.new_empty(logits.shape[:1] if rows else logits.shape)
    slope = logits.new_empty(logits.shape)
    limit = _BLOCK if logits.device.type == "cpu" else _BLOCK_ON_DEVICE
    step = max(limit // logits.shape[1], 1)
    for start in range(0, len(logits), step):
        block = slice(start, start + step)
        elements = _block(logits[block], targets[block], positive, negative, gamma, slope[block])
        if rows:
            torch.sum(elements, 1, out=value[block])
        else:
            value[block] = elements
    ignored = (targets < 0).nonzero().squeeze(1)
    return value.index_fill_(0, ignored, 0), slope.index_fill_(0, ignored, 0)


def _block(logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float, slope: Tensor) -> Tensor:
    """Values (n, K) of some rows; their slopes are written to ``slope``."""
    value = _focal(logits, negative, gamma, slope)
    row = ((targets >= 0) & (targets < logits.shape[1])).nonzero().squeeze(1)
    if len(row):
        column = targets[row]
        at = -logits[row, column]
        weight = positive.expand(logits.shape[1])[column]
        falling = torch.empty_like(at)
        value[row, column] = _focal(at, weight, gamma, falling)
        slope[row, column] = -falling
    return value


def _focal(x: Tensor, weight: Tensor, gamma: float, slope: Tensor) -> Tensor:
    """``weight`` f(x); ``weight`` f'(x) is written to ``slope``."""
    p = x.sigmoid()
    factor = p.pow(gamma).mul_(weight)
    value = functional.softplus(x, threshold=_LINEAR).mul_(factor)
    torch.mul(factor, p, out=slope)
    slope.addcmul_(p.neg_().add_(1), value, value=gamma)
    return value
