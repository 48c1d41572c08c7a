"""Weights against unequal class frequencies."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright._util.checks import check_within

ClassWeighting = Literal["inverse", "inverse_sqrt", "inverse_log", "effective"]


def class_weights(counts: Tensor, scheme: ClassWeighting, *, beta: float = 0.999) -> Tensor:
    """Weights (K,) float32 from the number of boxes of each class (K,), with mean 1 over the classes that occur.

    With n the count and f its share of all: "inverse" 1 / f, "inverse_sqrt" 1 / sqrt(f), "inverse_log" 1 / ln(1.1 + f)
    (ESPNet, arXiv 1803.06815), "effective" (1 - beta) / (1 - beta^n) (Class-Balanced Loss, arXiv 1901.05555, eq. 2).
    A class without boxes gets 1: nothing is learnt of it from positives, and every scheme would give it the highest
    weight of all, or infinity, if it were to occur. Raises ValueError for another scheme, a negative count, or beta
    outside 0..1.
    """
    if scheme not in get_args(ClassWeighting):
        raise ValueError(f"Expected a scheme out of {get_args(ClassWeighting)} but got {scheme!r}")
    if counts.ndim != 1 or not 0 <= beta < 1:
        raise ValueError(f"Expected counts (K,) and beta in 0..1 but got {tuple(counts.shape)} and {beta}")
    check_within(counts, 0, math.inf, "counts")
    occurs = counts > 0
    counts = torch.where(occurs, counts, 1).double()
    share = counts / (counts * occurs).sum().clamp(min=1)
    if scheme == "inverse":
        raw = 1 / share
    elif scheme == "inverse_sqrt":
        raw = share.rsqrt()
    elif scheme == "inverse_log":
        raw = 1 / (1.1 + share).log()
    else:
        raw = (1 - beta) / (1 - beta**counts)
    mean = (raw * occurs).sum() / occurs.sum().clamp(min=1)
    return torch.where(occurs, raw / mean, 1).float()
