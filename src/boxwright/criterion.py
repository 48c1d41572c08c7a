"""The supervision of a dense head: match, mine, encode, penalise, normalise.

Shape shorthand: B images, A anchors, G padded targets, K classes, P positives of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from boxwright import losses as loss_functions
from boxwright.anchors import Anchors
from boxwright.boxes import paired_iou
from boxwright.coding import BoxCoder, DistributionCoder
from boxwright.types import DenseOutputs, Matches, Targets

Normalizer = Literal["positives", "quality", "image", "batch", "samples"]
NORMALIZERS: tuple[Normalizer, ...] = ("positives", "quality", "image", "batch", "samples")


class Matcher(Protocol):
    """Any of ``boxwright.matching``, with its options bound."""

    def __call__(self, anchors: Any, boxes: Tensor, labels: Tensor, *, ignore: Tensor) -> Matches: ...


class Losses(NamedTuple):
    """The terms of a batch's loss: scalars, already weighted and normalised, so that they add up to ``total``."""

    total: Tensor
    classification: Tensor
    box: Tensor
    distribution: Tensor
    """Distribution focal loss of a head that predicts box sides as distributions; 0 for other coders."""
    positives: Tensor
    """Number of anchors that answer for a target, over the whole batch."""


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


class DenseCriterion(nn.Module):
    """The whole supervision of a dense head.

    ``criterion(anchors, outputs, targets) -> Losses``. No loop over images or boxes; a batch without any target is
    legal, has box loss 0 and keeps every output connected to the graph.

    A class loss with soft targets (quality focal loss) is taught the IoU of the decoded prediction with its target,
    detached (Generalized Focal Loss, arXiv:2006.04388, section 3). Boxes are decoded for the positives alone, and
    only where a loss needs them.

    ``normalizer``, what the summed losses are divided by:

    * ``positives``: the positives of the batch, at least 1;
    * ``quality``: the sum of the positives' IoU with their targets, at least 1, and each positive's box loss counts
      by that IoU;
    * ``image``: each image by its own positives, then the mean over images;
    * ``batch``: the number of images;
    * ``samples``: the anchors whose classification loss counts.

    Raises ValueError for an unknown ``normalizer``, for ``quality`` with a class loss that has no soft targets, and for
    a miner over a loss that gives no single value an anchor.
    """

    def __init__(
        self,
        *,
        matcher: Matcher,
        coder: BoxCoder,
        class_loss: Callable[..., Tensor],
        box_loss: Callable[..., Tensor],
        miner: Callable[..., Tensor] | None = None,
        box_weight: float | None = None,
        distribution_weight: float = 1.0,
        normalizer: Normalizer = "positives",
    ) -> None:
        super().__init__()
        if normalizer not in NORMALIZERS:
            raise ValueError(f"Expected normalizer to be one of {NORMALIZERS} but got {normalizer!r}")
        self.class_info = loss_functions.info(class_loss)
        self.box_info = loss_functions.info(box_loss)
        if normalizer == "quality" and not self.class_info.soft_targets:
            raise ValueError("Expected a class loss with soft targets for normalizer 'quality' but got hard targets")
        self.matcher, self.coder, self.miner = matcher, coder, miner
        self.class_loss, self.box_loss = class_loss, box_loss
        self.box_weight = self.box_info.default_weight if box_weight is None else box_weight
        self.distribution_weight = distribution_weight if isinstance(coder, DistributionCoder) else 0.0
        self.normalizer = normalizer

    def forward(self, anchors: Anchors | Tensor, outputs: DenseOutputs, targets: Targets) -> Losses:
        """anchors of the input, or their boxes (A, 4) where the matcher needs no grid; outputs (B, A, ...); targets
        (B, G, ...) in pixels of the input."""
        matches = self.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore)
        boxes = anchors.boxes if isinstance(anchors, Anchors) else anchors
        positives = _gather_positives(boxes, outputs.deltas, matches, targets)
        decoded = self.coder.decode(positives.anchors, positives.deltas) if self._needs_boxes else None
        quality = torch.ones_like(positives.anchors[:, 0])
        if decoded is not None and self.class_info.soft_targets:
            quality = paired_iou(decoded.detach().float(), positives.targets)
        box = self._box_losses(positives, decoded)
        distribution = self._distribution_losses(positives)
        classification, counted = self._classification_losses(outputs.logits, matches.state, positives, quality)
        if self.normalizer == "quality":
            box, distribution = box * quality, distribution * quality
        parts = (
            self._normalized(classification, counted, matches.state, quality),
            self._normalized(self._per_image(box, positives, matches.state), counted, matches.state, quality),
            self._normalized(self._per_image(distribution, positives, matches.state), counted, matches.state, quality),
        )
        return Losses(parts[0] + parts[1] + parts[2], *parts, positives=(matches.state == 1).sum())

    @property
    def _needs_boxes(self) -> bool:
        return self.class_info.soft_targets or self.box_info.kind == "boxes"

    def _box_losses(self, positives: Positives, decoded: Tensor | None) -> Tensor:
        """(P,) weighted box losses."""
        if self.box_info.kind == "boxes":
            losses = self.box_loss(decoded, positives.targets)
        else:
            losses = self.box_loss(positives.deltas, self.coder.encode(positives.anchors, positives.targets))
        return self.box_weight * losses

    def _distribution_losses(self, positives: Positives) -> Tensor:
        """(P,) weighted distribution focal losses; 0 for a coder that is no distribution."""
        if not isinstance(self.coder, DistributionCoder):
            return positives.deltas.new_zeros(len(positives.labels))
        logits = positives.deltas.view(-1, 4, self.coder.bins)
        distances = self.coder.distances(positives.anchors, positives.targets)
        return self.distribution_weight * loss_functions.distribution_focal_loss(logits, distances)

    def _classification_losses(
        self, logits: Tensor, state: Tensor, positives: Positives, quality: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B,) summed losses of the anchors that count, and the (B, A) mask of those."""
        per_anchor = self._losses_per_anchor(logits, state, positives, quality)
        counted = state >= 0
        if self.miner is not None:
            counted = self.miner(per_anchor.detach(), state)
        return (per_anchor * counted).sum(1), counted

    def _losses_per_anchor(self, logits: Tensor, state: Tensor, positives: Positives, quality: Tensor) -> Tensor:
        """(B, A) classification losses, ignored anchors included (their target is background)."""
        batch, anchors, columns = logits.shape
        if self.class_info.soft_targets:
            soft = logits.new_zeros(logits.shape, dtype=torch.float32)
            soft[positives.image, positives.anchor, positives.labels] = quality
            return self.class_loss(logits.flatten(0, 1), soft.flatten(0, 1)).sum(1).view(batch, anchors)
        background = columns if self.class_info.kind == "sigmoid" else columns - 1
        hard = torch.full_like(state, background, dtype=torch.int64)
        hard[positives.image, positives.anchor] = positives.labels
        losses = self.class_loss(logits.flatten(0, 1), hard.flatten())
        return losses.view(batch, anchors, -1).sum(2)

    @staticmethod
    def _per_image(losses: Tensor, positives: Positives, state: Tensor) -> Tensor:
        """(P,) -> (B,) sums."""
        return losses.new_zeros(len(state)).index_add(0, positives.image, losses)

    def _normalized(self, sums: Tensor, counted: Tensor, state: Tensor, quality: Tensor) -> Tensor:
        """(B,) sums of the images -> the scalar of the batch."""
        if self.normalizer == "image":
            return (sums / (state == 1).sum(1).clamp(min=1)).mean()
        if self.normalizer == "quality":
            count = quality.sum()
        elif self.normalizer == "positives":
            count = (state == 1).sum()
        elif self.normalizer == "samples":
            count = counted.sum()
        else:
            count = torch.tensor(len(sums), device=sums.device)
        return sums.sum() / count.clamp(min=1)


def _gather_positives(anchors: Tensor, deltas: Tensor, matches: Matches, targets: Targets) -> Positives:
    image, anchor = torch.nonzero(matches.state == 1, as_tuple=True)
    target = matches.gt_index[image, anchor]
    return Positives(
        image=image,
        anchor=anchor,
        labels=targets.labels[image, target],
        anchors=anchors[anchor],
        targets=targets.boxes[image, target],
        deltas=deltas[image, anchor],
    )
