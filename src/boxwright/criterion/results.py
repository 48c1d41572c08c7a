"""What a criterion returns: the losses of a batch, and those of its anchors one by one."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from boxwright.types import Matches


class Stats(NamedTuple):
    """Figures of a step for display; no loss is computed from them."""

    positives: Tensor
    """Number of anchors that answer for a target, over the whole batch."""
    matched: Tensor
    """(K,) how many of this rank's positives answer for a target of each class."""
    predicted: Tensor
    """(K',) how many of these have their highest logit in each column."""
    hard_positives: Tensor
    """Share of this rank's positives whose score for their target's class is below 0.5; 0 without positives."""
    positive_share: Tensor
    """Share of the classification loss that comes from this rank's positives; the rest comes from negatives."""


class Losses(NamedTuple):
    """The loss of a batch, the terms that add up to it, and figures for display."""

    total: Tensor
    terms: dict[str, Tensor]
    """Scalars by name, weighted and normalized, that add up to ``total``: "classification" and "box"; "distribution"
    for a head that predicts box sides as distributions; "centerness" for one that predicts it; and for the first of two
    stages "proposals classification" and so on.
    """
    stats: Stats
    divisor: Tensor
    """Divisor of the sums, if it is at least 1 (over all ranks: the mean). With it the losses of several
    batches combine to the loss of all as one batch: sum(total x max(divisor, 1)) / max(sum(divisor), 1)
    (with several ranks ``least_divisor`` for 1).
    """

    @property
    def classification(self) -> Tensor:
        """Return the classification term."""
        return self.terms["classification"]

    @property
    def box(self) -> Tensor:
        """Return the box term."""
        return self.terms["box"]

    @property
    def positives(self) -> Tensor:
        """Return the number of positives."""
        return self.stats.positives


class Positives(NamedTuple):
    """The anchors that answer for a target, with their targets and predictions."""

    image: Tensor
    """(P,) int64 index of the image in the batch."""
    anchor: Tensor
    """(P,) int64 index of the anchor."""
    labels: Tensor
    """(P,) int64."""
    anchors: Tensor
    """(P, 4)."""
    targets: Tensor
    """(P, 4) boxes of the targets."""
    deltas: Tensor
    """(P, D) predicted, with gradient."""


class AnchorLosses(NamedTuple):
    """The supervision of a batch anchor by anchor: losses are weighted, but neither summed nor normalized."""

    matches: Matches
    positives: Positives
    quality: Tensor
    """(P,) IoU of each positive's prediction with its target if the class loss learns it, else 1."""
    classification: Tensor
    """(B, A); that of ignored anchors does not count."""
    box: Tensor
    """(P,) without centerness weights."""
    distribution: Tensor
    """(P,); 0 for a head that predicts no distributions."""
    counted: Tensor
    """(B, A) bool: the anchors that the miner keeps."""
