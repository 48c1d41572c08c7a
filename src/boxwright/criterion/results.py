"""What a criterion answers: the losses of a batch, and those of its anchors one by one."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from boxwright.types import Matches


class Stats(NamedTuple):
    """What people want to see of a step; no loss is computed from it."""

    positives: Tensor
    """Number of anchors that answer for a target, over the whole batch."""
    matched: Tensor
    """(K,) how many of this rank's positives answer for a target of each class."""
    predicted: Tensor
    """(K',) how many of those have their highest logit in each column."""
    hard_positives: Tensor
    """Share of this rank's positives whose score for their target's class is below 0.5; 0 without any."""
    positive_share: Tensor
    """Share of the classification loss that this rank's positives make; the rest is its negatives'."""


class Losses(NamedTuple):
    """The loss of a batch, the terms that it is made of, and figures for people."""

    total: Tensor
    terms: dict[str, Tensor]
    """Scalars by name, weighted and normalized, which add up to ``total``: "classification" and "box"; "distribution"
    of a head that predicts box sides as distributions; "centerness" of one that predicts it; and of the first of two
    stages "proposals classification" and so on."""
    stats: Stats
    divisor: Tensor
    """What the sums were divided by, where it is at least 1 (over all ranks: their mean). With it the losses of several
    batches give that of all of them as one: sum(total x max(divisor, 1)) / max(sum(divisor), 1)
    (with several ranks ``least_divisor`` for 1)."""

    @property
    def classification(self) -> Tensor:
        return self.terms["classification"]

    @property
    def box(self) -> Tensor:
        return self.terms["box"]

    @property
    def positives(self) -> Tensor:
        return self.stats.positives


class Positives(NamedTuple):
    """The anchors that answer for a target, and what they should and do say."""

    image: Tensor
    """(P,) int64 index of the image in the batch."""
    anchor: Tensor
    """(P,) int64 index of the anchor."""
    labels: Tensor
    """(P,) int64."""
    anchors: Tensor
    """(P, 4)."""
    targets: Tensor
    """(P, 4) boxes to be found."""
    deltas: Tensor
    """(P, D) predicted, with gradient."""


class AnchorLosses(NamedTuple):
    """The supervision of a batch anchor by anchor: losses are weighted, and neither summed nor normalized."""

    matches: Matches
    positives: Positives
    quality: Tensor
    """(P,) IoU of each positive's prediction with its target, where the class loss is taught it; else 1."""
    classification: Tensor
    """(B, A); that of ignored anchors counts nowhere."""
    box: Tensor
    """(P,) without the weights of centerness."""
    distribution: Tensor
    """(P,); 0 for a head that predicts no distributions."""
    counted: Tensor
    """(B, A) bool: the anchors that the miner keeps."""
