"""Class weights against unequal class frequencies."""

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
    """Compute class weights (K,) float32 from the number of boxes of each class (K,).

    Args:
        counts: Number of boxes n of each class (K,). For a background class, append the number of its anchors.
        scheme: With f the share of a class: "inverse" 1 / f, "inverse_sqrt" 1 / sqrt(f), "inverse_log" 1 / ln(1.1 + f)
            (ESPNet, arXiv 1803.06815), "effective" (1 - beta) / (1 - beta^n) (Class-Balanced Loss, arXiv 1901.05555,
            section 4).
        beta: Of "effective".
        normalize: Divide by the mean over the classes that occur, so that it becomes 1.
        absent: Weight of a class without boxes. None means 1 with ``normalize`` (every scheme would give such a class
            the highest weight of all if it did occur); without it, the value of the scheme at n = 0 (1 / ln 1.1 = 10.49
            for "inverse_log"), or 0 for the three that are infinite there.

    Raises:
        ValueError: If ``scheme`` is unknown, a count or ``absent`` is negative, or ``beta`` is outside 0..1.

    Examples:
        >>> bw.losses.class_weights(torch.tensor([900, 90, 10]), scheme="inverse_sqrt")
        tensor([0.2198, 0.6951, 2.0852])
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
