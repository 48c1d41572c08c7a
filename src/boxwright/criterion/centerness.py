"""Centerness of a head that predicts it (FCOS, arXiv:1904.01355, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright import losses
from boxwright.boxes import safe_ratio
from boxwright.coding import centerness
from boxwright.criterion.normalizers import mean_over_ranks
from boxwright.criterion.results import Positives


def centerness_terms(logits: Tensor, positives: Positives, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Compute weights (P,) of the box losses, and losses (P,) of the predicted centerness, logits (B, A).

    A positive's weight is its true centerness, scaled to mean 1 over the ``kept`` (P,) positives of all ranks.
    """
    wanted = centerness(positives.anchors, positives.targets).to(kept.dtype)
    total, count = mean_over_ranks(torch.stack([(wanted * kept).sum(), kept.sum()])).unbind()
    pred = logits[positives.image, positives.anchor].unsqueeze(-1)
    entropy = losses.binary_cross_entropy(pred, wanted.unsqueeze(-1), reduction="rows")
    return wanted * safe_ratio(count, total), entropy
