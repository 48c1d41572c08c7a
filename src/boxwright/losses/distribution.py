"""Losses of boxes that are predicted as distributions over bins."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright._util.checks import check_finite
from boxwright.losses._reduction import Reduction, full_precision, reduce
from boxwright.parts import box_loss


@box_loss(space="distribution")
@full_precision
def distribution_focal_loss(logits: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Compute the distribution focal loss (GFL, arXiv 2006.04388, eq. 6), (N, 4, bins) and (N, 4) -> (N,).

    It is the cross entropy with the two bins next to the target, weighted by how near they are; mean of the 4 sides.

    Args:
        logits: Predicted logits (N, 4, bins).
        target: Distances in bins (N, 4), as ``DistributionCoder.distances`` returns them; clipped to 0..bins - 1.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> logits = torch.zeros(1, 4, 8)
        >>> bw.losses.distribution_focal_loss(logits, torch.tensor([[0.0, 2.5, 3, 7]]))
        tensor([2.0794])
    """
    bins = logits.shape[-1]
    if logits.shape[:-1] != target.shape or bins < 2:
        raise ValueError(
            f"Expected logits (N, 4, bins) and target (N, 4) but got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    check_finite(target, "target distances")
    target = target.clamp(0, bins - 1).unsqueeze(-1)
    below = target.floor().clamp(max=bins - 2)
    log_p = logits.log_softmax(-1)
    neighbors = log_p.gather(-1, torch.cat([below, below + 1], dim=-1).long())
    share = target - below
    return reduce(-(neighbors * torch.cat([1 - share, share], dim=-1)).sum(-1).mean(-1), reduction)
