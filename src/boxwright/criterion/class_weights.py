"""Weights of the classification loss by class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boxwright import losses
from boxwright.criterion.results import Positives
from boxwright.criterion.stats import histogram
from boxwright.losses import ClassWeighting


class ClassWeights(nn.Module):
    """Weigh the classification loss of each positive by its target's class, and of all else as background.

    ``weights``: (K,) fixed ones; a scheme of ``losses.class_weights``, which computes them from the positives of each
    batch; or None for 1. ``background`` is the weight of all that isn't positive; None: a third of the sum of the
    class weights.
    """

    def __init__(self, weights: Tensor | ClassWeighting | None, background: float | None = 1.0) -> None:
        super().__init__()
        self.scheme: ClassWeighting | None = weights if isinstance(weights, str) else None
        self.background = background
        self.fixed: Tensor | None
        self.register_buffer("fixed", weights if isinstance(weights, Tensor) else None, persistent=False)

    def forward(self, per_anchor: Tensor, positives: Positives, classes: int) -> Tensor:
        """Scale losses (B, A) anchor by anchor."""
        if self.scheme is not None:
            weights = losses.class_weights(histogram(positives.labels, classes), self.scheme)
        else:
            weights = per_anchor.new_ones(classes) if self.fixed is None else self.fixed
        weights = weights.to(per_anchor.dtype)
        background = weights.sum() / 3 if self.background is None else self.background
        spread = torch.ones_like(per_anchor) * background
        spread[positives.image, positives.anchor] = weights[positives.labels]
        return per_anchor * spread
