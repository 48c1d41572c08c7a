"""Weights of the classification loss by class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from boxwright import losses
from boxwright.criterion.results import Positives
from boxwright.losses import ClassWeighting

WeightRule = Callable[[Tensor], Tensor]
"""Maps counts (C,) of C classes to their weights (C,), as ``losses.class_weights`` with its options bound does."""
Counted = Literal["positives", "samples"]


class ClassWeights(nn.Module):
    """Weigh the classification loss of each positive by its target's class, and all other anchors as background.

    Args:
        weights: Fixed weights (K,); a rule, or a scheme of ``losses.class_weights``, that computes them from the counts
            of each batch; or None for 1.
        over: What a rule counts. "positives": the positives of each class (K,). "samples": all anchors that are not
            ignored, before mining, with background as the last class (K + 1,), weighted by the rule as well.
        background: Weight of all that is not positive, with "positives". None: a third of the sum of the class weights.

    Raises:
        ValueError: If ``over`` is unknown, or is "samples" without a rule or with a ``background`` other than 1.
    """

    def __init__(
        self,
        weights: Tensor | ClassWeighting | WeightRule | None,
        background: float | None = 1.0,
        over: Counted = "positives",
    ) -> None:
        super().__init__()
        if isinstance(weights, str):
            weights = partial(losses.class_weights, scheme=weights)
        self.rule: WeightRule | None = None if isinstance(weights, Tensor) else weights
        if over not in get_args(Counted):
            raise ValueError(f"Expected over out of {get_args(Counted)} but got {over!r}")
        if over == "samples" and (self.rule is None or background != 1):
            raise ValueError(
                "Expected weights by a scheme, and 1 as the background's own, with over='samples', where background is "
                f"one of the classes, but got {weights!r} and {background}"
            )
        self.over, self.background = over, background
        self.fixed: Tensor | None
        self.register_buffer("fixed", weights if isinstance(weights, Tensor) else None, persistent=False)

    def forward(self, per_anchor: Tensor, state: Tensor, positives: Positives, classes: int) -> Tensor:
        """Scale losses (B, A) anchor by anchor; ``state`` (B, A) is that of their matches."""
        weights = self._weights(per_anchor, state, positives, classes).to(per_anchor.dtype)
        background: Tensor | float | None = weights[-1] if self.over == "samples" else self.background
        if background is None:
            background = weights.sum() / 3
        spread = torch.ones_like(per_anchor) * background
        spread[positives.image, positives.anchor] = weights[positives.labels]
        return per_anchor * spread

    def _weights(self, per_anchor: Tensor, state: Tensor, positives: Positives, classes: int) -> Tensor:
        """Compute the weights (K,) of the classes, or (K + 1,) with background."""
        if self.rule is None:
            return per_anchor.new_ones(classes) if self.fixed is None else self.fixed
        labels = positives.labels
        counts = labels.new_zeros(classes).index_add(0, labels, torch.ones_like(labels))
        if self.over == "samples":
            counts = torch.cat([counts, (state == 0).sum().unsqueeze(0)])
        return self.rule(counts)
