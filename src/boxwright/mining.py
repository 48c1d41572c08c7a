"""Mining: which anchors' classification loss counts.

Every miner takes detached per-anchor losses (B, A) and the state (B, A) of the matches, and returns a (B, A) bool mask.
The losses are those of the classification; a miner that also drops positives may ask for the sum with the box loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

MiningScope = Literal["image", "batch"]
F = TypeVar("F", bound=Callable[..., Any])


def rank_with_box(miner: F) -> F:
    """Mark a miner that ranks by classification and box loss together."""
    miner.__dict__["ranks_with_box"] = True
    return miner


def ranks_with_box(miner: Callable[..., Tensor]) -> bool:
    """Whether a miner, options bound or not, is marked so."""
    while isinstance(miner, partial):
        miner = miner.func
    return bool(getattr(miner, "ranks_with_box", False))


@torch.no_grad()
def hard_negatives(
    losses: Tensor, state: Tensor, *, ratio: float = 3.0, scope: MiningScope = "image", min_negatives: int = 0
) -> Tensor:
    """All positives and the negatives with the highest loss, ``ratio`` times as many (SSD, arXiv 1512.02325, sec. 2.2).

    losses (B, A), state (B, A) in {1, 0, -1} -> (B, A) bool. At least ``min_negatives`` and at most all negatives are
    taken, of each image, or of the whole (micro-)batch with scope "batch". With ``min_negatives`` 0 an image without
    positives counts nothing. Ties go to the earlier anchor; ignored anchors are never taken.
    Raises ValueError for another scope, a negative ratio or count, or shapes that differ.
    """
    _check(losses, state)
    if scope not in get_args(MiningScope):
        raise ValueError(f"Expected a scope out of {get_args(MiningScope)} but got {scope!r}")
    if ratio < 0 or min_negatives < 0:
        raise ValueError(f"Expected ratio and min_negatives of at least 0 but got {ratio} and {min_negatives}")
    shape = state.shape
    if scope == "batch":
        losses, state = losses.reshape(1, -1), state.reshape(1, -1)
    positive, negative = state == 1, state == 0
    wanted = (positive.sum(1, keepdim=True) * ratio).floor().clamp(min=min_negatives)
    return (positive | (negative & (_ranks(losses, negative) < wanted))).reshape(shape)


@rank_with_box
@torch.no_grad()
def hard_examples(losses: Tensor, state: Tensor, *, count: int | None = None) -> Tensor:
    """The highest losses of an image, positives and negatives together (after OHEM, arXiv 1604.03540, section 4.1).

    losses (B, A) of classification and box together, state (B, A) in {1, 0, -1} -> (B, A) bool with at most ``count``
    anchors an image; None: four times its positives, as many as ``hard_negatives`` keeps. Ties go to the earlier
    anchor; ignored anchors are never taken. Raises ValueError for a count below 1, or shapes that differ.
    """
    _check(losses, state)
    if count is not None and count < 1:
        raise ValueError(f"Expected a count of at least 1 but got {count}")
    wanted = 4 * (state == 1).sum(1, keepdim=True) if count is None else count
    eligible = state >= 0
    return eligible & (_ranks(losses, eligible) < wanted)


def _check(losses: Tensor, state: Tensor) -> None:
    if losses.shape != state.shape or losses.ndim != 2:
        raise ValueError(f"Expected losses and state (B, A) but got {tuple(losses.shape)} and {tuple(state.shape)}")


def _ranks(losses: Tensor, eligible: Tensor) -> Tensor:
    """Place (B, A) of each anchor by falling loss, the eligible ones first."""
    order = losses.masked_fill(~eligible, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place)
