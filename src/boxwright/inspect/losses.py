"""What every anchor of an image costs a trained detector, in each role that it could have."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from boxwright.choices import resolve_choice
from boxwright.criterion import DenseCriterion
from boxwright.data.loading import Sample, collate
from boxwright.mining import hard_negatives
from boxwright.models import DenseDetector
from boxwright.models.selection import class_scores
from boxwright.recipes import Recipe
from boxwright.types import DenseOutputs, Matches, Targets

LEAST_IOU = 0.1
"""With some object, for an anchor to be shown for what it overlaps."""


class Roles(NamedTuple):
    """What each of the A anchors of an image could be."""

    target: Tensor
    """(A,) int64 the object that it answers for, or would at a lower threshold, among the image's boxes."""
    iou: Tensor
    """(A,) with that object; 0 below ``LEAST_IOU``, but for the ``fixed``."""
    fixed: Tensor
    """(A,) bool: positive whatever the thresholds: by the force rule, or by a matcher that has no thresholds."""
    covered: Tensor
    """(A,) bool: ignored instead of negative, under a crowd or difficult box."""
    state: Tensor
    """(A,) int8 under the recipe."""

    @property
    def could(self) -> Tensor:
        """(A,) bool: whether it has a target."""
        return self.fixed | (self.iou >= LEAST_IOU)

    def at(self, anchors: Tensor) -> Roles:
        """Those of the anchors (n,) alone."""
        return Roles(*(column[anchors] for column in self))


class AnchorCosts(NamedTuple):
    """Losses (A,), weighted and not normalized, and scores."""

    background: Tensor
    """Classification loss as a negative."""
    object: Tensor
    """Classification loss as a positive of its target; 0 without one."""
    box: Tensor
    """Box loss (with that of distributions) as a positive; 0 without a target."""
    score: Tensor
    """That the network gives the target's class; 0 without a target."""
    says: Tensor
    """int64 the class of the highest score."""
    said: Tensor
    """That score."""
    counted: Tensor
    """bool: whether the recipe's miner keeps it, of this image alone."""

    def at(self, anchors: Tensor) -> AnchorCosts:
        """Those of the anchors (n,) alone."""
        return AnchorCosts(*(column[anchors] for column in self))


class Mining(NamedTuple):
    """How many negatives of an image are called hard at first."""

    ratio: float
    """Per positive."""
    least: int
    """Of an image."""
    own: bool
    """Whether these are what the recipe mines."""

    @classmethod
    def of(cls, recipe: Recipe) -> Mining:
        """The recipe's own numbers where its miner is hard_negatives; else as many as positives."""
        miner: Any = resolve_choice("miner", recipe.miner)
        if miner is None or miner.func is not hard_negatives:
            return cls(1.0, 0, False)
        options = miner.keywords
        return cls(options.get("ratio", 3.0), options.get("min_negatives", 0), options.get("scope", "image") == "image")


class Seen(NamedTuple):
    """An image as a batch of one: what is there, and what the detector says."""

    targets: Targets
    outputs: DenseOutputs


class Trained(NamedTuple):
    """A detector and its supervision, both in evaluation."""

    detector: DenseDetector
    criterion: DenseCriterion

    @torch.no_grad()
    def see(self, sample: Sample) -> Seen:
        """One forward pass of an image."""
        batch = collate([sample])
        return Seen(batch.targets, self.detector(self.detector.normalize(batch.images)))

    @torch.no_grad()
    def total(self, seen: Seen) -> float:
        """The image's loss, normalized as for a batch of it alone."""
        return float(self.criterion(self.detector.anchors, seen.outputs, seen.targets).total)

    @torch.no_grad()
    def costs(self, seen: Seen, roles: Roles) -> AnchorCosts:
        """Of all anchors, as the supervision sees them and as it would in the other role.

        A loss that depends on the other anchors (GHM, class weights by batch) does so with all of them in that role.
        """
        targets, outputs = seen
        negative = torch.zeros_like(roles.state)
        own, positive, background = (
            self.criterion.per_anchor(self.detector.anchors, outputs, targets, matches)
            for matches in (None, _all(roles, roles.could.to(torch.int8)), _all(roles, negative))
        )
        place = positive.positives.anchor
        box = torch.zeros_like(roles.iou).index_put((place,), (positive.box + positive.distribution).float())
        scores = class_scores(outputs.logits[0], self.detector.softmax)
        score = torch.zeros_like(roles.iou).index_put((place,), scores[place, positive.positives.labels])
        said, says = scores.max(-1)
        return AnchorCosts(
            background=background.classification[0].float(),
            object=positive.classification[0].float() * roles.could,
            box=box,
            score=score,
            says=says,
            said=said,
            counted=own.counted[0],
        )


def _all(roles: Roles, state: Tensor) -> Matches:
    return Matches(roles.target[None], state[None], roles.iou[None])


def hardest(losses: Tensor, eligible: Tensor, count: int) -> tuple[Tensor, float]:
    """The ``count`` eligible anchors (A,) of the highest losses (A,), and the highest loss that is left.

    Ties go to the earlier anchor; -inf where nothing is left.
    """
    order = losses.masked_fill(~eligible, -torch.inf).sort(descending=True, stable=True)
    taken = min(count, int(eligible.sum()))
    left = float(order.values[taken]) if taken < len(losses) else -torch.inf
    return order.indices[:taken], left
