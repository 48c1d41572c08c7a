"""Weights against unequal class frequencies."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright._util.checks import check_within

ClassWeighting = Literal["inverse", "inverse_sqrt", "inverse_log", "effective"]


def class_weights(
    counts: Tensor,
    scheme: ClassWeighting,
    *,
    beta: float = 0.999,
    normalize: bool = True,
    absent: float | None = None,
) -> Tensor:
    """Compute weights (K,) float32 from the number of boxes of each class (K,).

    With n the count and f its share of all: "inverse" 1 / f, "inverse_sqrt" 1 / sqrt(f), "inverse_log" 1 / ln(1.1 + f)
    (ESPNet, arXiv 1803.06815), "effective" (1 - beta) / (1 - beta^n) (Class-Balanced Loss, arXiv 1901.05555, sec. 4).
    With ``normalize`` they are divided by their mean over the classes that occur, which is then 1. With background as
    a class of its own count its anchors as the last class.

    ``absent``: the weight of a class without boxes. None: 1 with ``normalize``, since nothing is learned of it from
    positives and every scheme would give it the highest weight of all if it were to occur; without, what the scheme
    gives at n = 0 (1 / ln 1.1 = 10.49, as ESPNet's code has it), or 0 for the three that are infinite there.

    Raises ValueError for another scheme, a negative count or ``absent``, or beta outside 0..1.
    """
    if scheme not in get_args(ClassWeighting):
        raise ValueError(f"Expected a scheme out of {get_args(ClassWeighting)} but got {scheme!r}")
    if counts.ndim != 1 or not 0 <= beta < 1:
        raise ValueError(f"Expected counts (K,) and beta in 0..1 but got {tuple(counts.shape)} and {beta}")
    if absent is not None and not 0 <= absent < math.inf:
        raise ValueError(f"Expected a finite absent of at least 0 but got {absent}")
    check_within(counts, 0, math.inf, "counts")
    occurs, weights = counts > 0, _raw_weights(counts.double(), scheme, beta)
    if absent is not None:
        others = torch.full_like(weights, absent)
    elif normalize:
        others = torch.ones_like(weights)
    else:
        others = torch.where(weights.isinf(), 0.0, weights)
    if normalize:
        weights = weights / (torch.where(occurs, weights, 0.0).sum() / occurs.sum().clamp(min=1))
    return torch.where(occurs, weights, others).float()


def _raw_weights(counts: Tensor, scheme: ClassWeighting, beta: float) -> Tensor:
    share = counts / counts.sum().clamp(min=1)
    if scheme == "inverse":
        return 1 / share
    if scheme == "inverse_sqrt":
        return share.rsqrt()
    if scheme == "inverse_log":
        return 1 / (1.1 + share).log()
    return (1 - beta) / (1 - beta**counts)
