"""Mining: which anchors' classification loss counts.

Every miner takes detached per-anchor losses (B, A) and the state (B, A) of the matches, and returns a (B, A) bool mask.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

MiningScope = Literal["image", "batch"]


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
    if losses.shape != state.shape or losses.ndim != 2:
        raise ValueError(f"Expected losses and state (B, A) but got {tuple(losses.shape)} and {tuple(state.shape)}")
    if scope not in get_args(MiningScope):
        raise ValueError(f"Expected a scope out of {get_args(MiningScope)} but got {scope!r}")
    if ratio < 0 or min_negatives < 0:
        raise ValueError(f"Expected ratio and min_negatives of at least 0 but got {ratio} and {min_negatives}")
    shape = state.shape
    if scope == "batch":
        losses, state = losses.reshape(1, -1), state.reshape(1, -1)
    positive, negative = state == 1, state == 0
    wanted = (positive.sum(1, keepdim=True) * ratio).floor().clamp(min=min_negatives)
    order = losses.masked_fill(~negative, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(order.shape[1], device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, place)
    return (positive | (negative & (rank < wanted))).reshape(shape)
