"""Softmax cross entropy as one autograd function, whose backward pass is as large as what was mined."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from boxwright._util.devices import is_near


class CrossEntropy(torch.autograd.Function):
    """-ln p_t, logits (N, K) and targets int64 (N,) -> (N,); 0 where the target is -1.

    The gradient p - [class = t] is computed in the backward pass, for the rows that got one: after hard negative mining
    that is one in fifty. Nothing but the logits is kept. Where counting those rows would wait for the device, all are.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(logits, targets)
        log_p = logits.log_softmax(1).gather(1, targets.clamp(min=0).unsqueeze(1)).squeeze(1)
        return log_p.neg_().masked_fill_(targets < 0, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        grad = grad.masked_fill(targets < 0, 0)
        if not is_near(grad):
            return _slope(logits, targets, grad), None
        rows = grad.nonzero().squeeze(1)
        return torch.zeros_like(logits).index_copy(0, rows, _slope(logits[rows], targets[rows], grad[rows])), None


def _slope(logits: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
    """Gradient (n, K) of some rows; nothing here is in place, so that it can be differentiated again."""
    label, grad = targets.clamp(min=0).unsqueeze(1), grad.unsqueeze(1)
    return (logits.softmax(1) * grad).scatter_add(1, label, -grad)
