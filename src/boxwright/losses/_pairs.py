"""What all box losses share: input checks and the upper limit of their values.

Targets are checked after the loss is computed: most losses already show that all targets are sound, which is cheaper
to see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from boxwright._util.checks import are_sound, check_boxes, check_finite, is_visible
from boxwright._util.devices import is_near
from boxwright.losses._reduction import Reduction, reduce

# Upper limit of a pair's loss, without gradient beyond: the sum of 10^8 such losses still fits float32.
_MOST = 1e30
# The reductions of torch's own losses.
EACH, TOTAL = 0, 2
# From this many elements on, summing column by column saves more than a Python function costs.
_MANY = 1 << 15


def check_pairs(pred: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both have the same shape (N, 4) or (..., 4)."""
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(
            f"Expected pred and target of one shape (N, 4) but got {tuple(pred.shape)} and {tuple(target.shape)}"
        )


def check_target_boxes(cost: Tensor, target: Tensor) -> None:
    """Raise ValueError unless all targets (..., 4) are finite and have an area.

    ``cost`` (...) is at least 1 for a box that does not overlap its target, which holds for every box without area.
    """
    if not is_visible(cost) or not cost.numel() or cost.detach().max().item() < 1:
        return
    if not are_sound(target.detach()[~(cost.detach() < 1)]):
        check_boxes(target)  # which names the box


def reduce_boxes(loss: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """Check targets and ``reduce`` the losses (...) of boxes, which are at least 1 where the boxes do not overlap."""
    check_target_boxes(loss, target)
    return reduce(loss, reduction)


def reduce_deltas(loss: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """Check targets and ``reduce`` losses of deltas (..., 4), summed over the coordinates and limited to 1e30.

    Raises:
        ValueError: Unless all targets (..., 4) are finite.
    """
    loss = loss.sum(-1)
    if is_visible(loss):
        if _is_limited(loss):
            return reduce(loss, reduction)
        check_finite(target, "target deltas")
    return reduce(loss.clamp(max=_MOST), reduction)


def reduce_plain(
    plain: Callable[[int], Tensor], limited: Callable[[], Tensor], target: Tensor, reduction: Reduction
) -> Tensor:
    """Do the same as ``reduce_deltas`` by ``plain``, a loss of torch's, given ``EACH`` or ``TOTAL``.

    Falls back on ``limited()``, (..., 4), where a loss exceeds the limit, or its value cannot be read.
    """
    if is_visible(target):
        if reduction == "sum":
            loss = plain(TOTAL)
            if loss.item() < _MOST:  # so no single loss can exceed the limit
                return loss
        else:
            loss = _summed(plain(EACH))
            if _is_limited(loss):
                return reduce(loss, reduction)
    return reduce_deltas(limited(), target, reduction)


def _is_limited(loss: Tensor) -> bool:
    """Tell whether no loss exceeds the limit, nor is NaN."""
    return not loss.numel() or loss.detach().max().item() <= _MOST


def _summed(loss: Tensor) -> Tensor:
    """Sum losses (..., 4) over the coordinates, (...)."""
    if loss.numel() < _MANY or not is_near(loss):
        return loss.sum(-1)
    total: Tensor = _Summed.apply(loss)
    return total


class _Summed(torch.autograd.Function):
    """The sum over four coordinates, column by column: torch's own takes three times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        first, second, third, last = loss.unbind(-1)
        return (first + second).add_(third).add_(last)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.unsqueeze(-1).expand(*grad.shape, 4)
