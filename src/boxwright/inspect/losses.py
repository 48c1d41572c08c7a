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
"""IoU with some object from which on an anchor is shown for its overlap."""


class Roles(NamedTuple):
    """Roles that each of the A anchors of an image could have."""

    target: Tensor
    """(A,) int64 the object, among the image's boxes, that it answers for or would answer for at a lower threshold."""
    iou: Tensor
    """(A,) IoU with that object; 0 below ``LEAST_IOU``, except for the ``fixed``."""
    fixed: Tensor
    """(A,) bool: positive at any threshold: by the force rule, or by a matcher without thresholds."""
    covered: Tensor
    """(A,) bool: ignored instead of negative, under a crowd or difficult box."""
    state: Tensor
    """(A,) int8 state under the recipe."""

    @property
    def could(self) -> Tensor:
        """(A,) bool: whether it has a target."""
        return self.fixed | (self.iou >= LEAST_IOU)

    def at(self, anchors: Tensor) -> Roles:
        """Select the anchors (n,)."""
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
    """Predicted score of the target's class; 0 without a target."""
    says: Tensor
    """int64 the class with the highest score."""
    pred: Tensor
    """That class's score."""
    counted: Tensor
    """bool: whether the recipe's miner keeps it, looking at this image alone."""

    def at(self, anchors: Tensor) -> AnchorCosts:
        """Select the anchors (n,)."""
        return AnchorCosts(*(column[anchors] for column in self))


class Mining(NamedTuple):
    """Number of negatives of an image that are called hard initially."""

    ratio: float
    """Number per positive."""
    least: int
    """Minimum per image."""
    own: bool
    """Whether these are the recipe's own numbers."""

    @classmethod
    def of(cls, recipe: Recipe) -> Mining:
        """Return the recipe's own numbers if its miner is hard_negatives, else as many negatives as positives."""
        miner: Any = resolve_choice("miner", recipe.miner)
        if miner is None or miner.func is not hard_negatives:
            return cls(1.0, 0, False)
        options = miner.keywords
        return cls(options.get("ratio", 3.0), options.get("min_negatives", 0), options.get("scope", "image") == "image")


class Seen(NamedTuple):
    """An image as a batch of one: its targets and the detector's outputs."""

    targets: Targets
    outputs: DenseOutputs


class Trained(NamedTuple):
    """A detector and its supervision, both in evaluation mode."""

    detector: DenseDetector
    criterion: DenseCriterion

    @torch.no_grad()
    def see(self, sample: Sample) -> Seen:
        """Run one forward pass of an image."""
        batch = collate([sample])
        return Seen(batch.targets, self.detector(self.detector.normalize(batch.images)))

    @torch.no_grad()
    def total(self, seen: Seen) -> float:
        """Compute the image's loss, normalized as for a batch of it alone."""
        return float(self.criterion(self.detector.anchors, seen.outputs, seen.targets).total)

    @torch.no_grad()
    def costs(self, seen: Seen, roles: Roles) -> AnchorCosts:
        """Compute the costs of all anchors in their own role and in the other role.

        A loss that depends on the other anchors (GHM, class weights by batch) is computed with all of them in that
        role.
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
        pred, says = scores.max(-1)
        return AnchorCosts(
            background=background.classification[0].float(),
            object=positive.classification[0].float() * roles.could,
            box=box,
            score=score,
            says=says,
            pred=pred,
            counted=own.counted[0],
        )


def _all(roles: Roles, state: Tensor) -> Matches:
    return Matches(roles.target[None], state[None], roles.iou[None])


def hardest(losses: Tensor, eligible: Tensor, count: int) -> tuple[Tensor, float]:
    """Find the ``count`` eligible anchors (A,) with the highest losses (A,), and the highest loss among the rest.

    Ties go to the earlier anchor; -inf if none is left.
    """
    order = losses.masked_fill(~eligible, -torch.inf).sort(descending=True, stable=True)
    taken = min(count, int(eligible.sum()))
    left = float(order.values[taken]) if taken < len(losses) else -torch.inf
    return order.indices[:taken], left
