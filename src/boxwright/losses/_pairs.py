"""What all box losses share: the check of their input, and the limit of their values.

Targets are looked at after the loss is computed, since the loss tells of most that they are sound.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from boxwright._util.checks import are_sound, check_boxes, check_finite, is_visible
from boxwright.losses._reduction import Reduction, reduce

# What a pair costs at most, without gradient beyond: the sum of 10^8 such losses is still within float32.
_MOST = 1e30


def check_pairs(pred: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both are of one shape (N, 4), or (..., 4)."""
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(
            f"Expected pred and target of one shape (N, 4) but got {tuple(pred.shape)} and {tuple(target.shape)}"
        )


def check_target_boxes(cost: Tensor, target: Tensor) -> None:
    """Raise ValueError unless targets (..., 4) are finite and have an area.

    ``cost`` (...) is at least 1 for a box that doesn't overlap its target, such as one without area.
    """
    if not is_visible(cost) or not cost.numel() or cost.detach().amax().item() < 1:
        return
    if not are_sound(target.detach()[~(cost.detach() < 1)]):
        check_boxes(target)  # which tells the place


def reduce_boxes(loss: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """``reduce`` for losses (...) of boxes, which are at least 1 where they don't overlap."""
    check_target_boxes(loss, target)
    return reduce(loss, reduction)


def reduce_deltas(loss: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """``reduce`` for losses of deltas (..., 4), summed over the coordinates and limited to 1e30.

    Raises ValueError unless targets (..., 4) are finite.
    """
    loss = loss.sum(-1)
    if is_visible(loss):
        if loss.detach().sum().item() < _MOST:  # as each is then: there is nothing to limit
            return reduce(loss, reduction)
        check_finite(target, "target deltas")
    return reduce(loss.clamp(max=_MOST), reduction)


def reduce_plain(
    plain: Callable[..., Tensor], limited: Callable[[], Tensor], target: Tensor, reduction: Reduction
) -> Tensor:
    """``reduce_deltas`` for ``plain(reduction=...)``, a loss of torch, which adds up while it computes.

    Where the sum tells that a loss is to be limited, or can't be looked at, it is that of ``limited()``, (..., 4).
    """
    if is_visible(target):
        loss = plain(reduction="sum" if reduction == "sum" else "none")
        if loss.detach().sum().item() < _MOST:
            return loss if reduction == "sum" else reduce(loss.sum(-1), reduction)
    return reduce_deltas(limited(), target, reduction)
