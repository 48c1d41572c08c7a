"""Classification losses: plain functions ``f(logits, targets, ..., reduction="none")``.

Softmax kinds take class indices (N,) and give (N,). Sigmoid kinds take indices (N,) with K for background, or float
targets (N, K), and give (N, K). An index of -1 is ignored: its loss is 0. Leading dimensions are free.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from boxwright.losses._reduction import LossInfo, Reduction, full_precision, marked, reduce


@marked(LossInfo("softmax"))
@full_precision
def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
    reduction: Reduction = "none",
) -> Tensor:
    """Softmax cross entropy, logits (N, K) and int64 targets (N,) -> (N,); ``weight`` (K,) scales each class.

    "mean" divides by N, ignored rows included, and not by the sum of weights. Raises ValueError for other shapes.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"Expected logits (N, K) and targets (N,) but got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    loss = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        targets.reshape(-1),
        weight=weight,
        ignore_index=-1,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return reduce(loss.reshape(targets.shape), reduction)


@marked(LossInfo("sigmoid", soft_targets=True))
@full_precision
def quality_focal_loss(logits: Tensor, targets: Tensor, beta: float = 2.0, reduction: Reduction = "none") -> Tensor:
    """Quality focal loss (GFL, arXiv 2006.04388, eq. 5): |t - p|^beta x binary cross entropy(p, t), (N, K) -> (N, K).

    ``targets`` float (N, K) hold each positive's IoU at its class and 0 elsewhere. The gradient flows through both
    factors. Raises ValueError for beta < 1, whose gradient is unbounded, and for other shapes.
    """
    if beta < 1:
        raise ValueError(f"Expected beta >= 1 but got {beta}")
    targets, counted = _dense_targets(logits, targets)
    distance = (targets - logits.sigmoid()).abs()
    loss = distance.pow(beta) * functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return reduce(loss * counted, reduction)


def _dense_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Targets as float (N, K), and which rows count, (N, 1) or (N, K)."""
    if targets.is_floating_point() and targets.shape == logits.shape:
        return targets, torch.ones_like(logits[..., :1])
    if targets.is_floating_point() or targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"Expected logits (N, K) and targets int64 (N,) or float (N, K) but got {tuple(logits.shape)} and "
            f"{targets.dtype} {tuple(targets.shape)}"
        )
    classes = torch.arange(logits.shape[-1], device=logits.device)
    dense = (targets.unsqueeze(-1) == classes).to(logits.dtype)
    return dense, (targets >= 0).unsqueeze(-1).to(logits.dtype)
