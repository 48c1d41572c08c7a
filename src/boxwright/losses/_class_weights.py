"""Weights against unequal class frequencies."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

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
    if counts.ndim != 1 or (counts < 0).any() or not 0 <= beta < 1:
        raise ValueError(f"Expected counts (K,) of at least 0 and beta in 0..1 but got {counts} and {beta}")
    occurs = counts > 0
    if not occurs.any():
        return torch.ones(len(counts), device=counts.device)
    counts = counts[occurs].double()
    share = counts / counts.sum()
    if scheme == "inverse":
        raw = 1 / share
    elif scheme == "inverse_sqrt":
        raw = share.rsqrt()
    elif scheme == "inverse_log":
        raw = 1 / (1.1 + share).log()
    else:
        raw = (1 - beta) / (1 - beta**counts)
    weights = torch.ones(len(occurs), device=counts.device)
    weights[occurs] = (raw / raw.mean()).float()
    return weights
