"""The supervision of a dense head: match, mine, encode, penalise, normalise.

Shape shorthand: B images, A anchors, G padded targets, K classes, P positives of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from boxwright import losses as loss_functions
from boxwright._util.checks import check_targets, is_visible, settled
from boxwright.anchors import Anchors
from boxwright.boxes import paired_iou, safe_ratio
from boxwright.coding import BoxCoder, DistributionCoder, centreness
from boxwright.losses import ClassWeighting
from boxwright.matching import needs_predictions
from boxwright.mining import ranking_of
from boxwright.types import DenseOutputs, Matches, Targets

Normalizer = Literal["positives", "quality", "image", "batch", "samples"]
NORMALIZERS: tuple[Normalizer, ...] = ("positives", "quality", "image", "batch", "samples")


class Matcher(Protocol):
    """Any of ``boxwright.matching``, with its options bound."""

    def __call__(
        self, anchors: Any, boxes: Tensor, labels: Tensor, *, ignore: Tensor, **predictions: Tensor
    ) -> Matches: ...


class Losses(NamedTuple):
    """The terms of a batch's loss: scalars, already weighted and normalised, so that they add up to ``total``."""

    total: Tensor
    classification: Tensor
    box: Tensor
    distribution: Tensor
    """Distribution focal loss of a head that predicts box sides as distributions; 0 for other coders."""
    positives: Tensor
    """Number of anchors that answer for a target, over the whole batch."""
    divisor: Tensor
    """What the sums were divided by, where it is at least 1 (over all ranks: their mean). With it the losses of several
    batches give that of all of them as one: sum(total x max(divisor, 1)) / max(sum(divisor), 1)
    (with several ranks ``least_divisor`` for 1)."""
    matched: Tensor
    """(K,) how many of this rank's positives answer for a target of each class."""
    predicted: Tensor
    """(K',) how many of those have their highest logit in each column."""
    centreness: Tensor
    """Binary cross entropy of the centre-ness, a term of ``total``; 0 for a head that doesn't predict it."""
    hard_positives: Tensor
    """Share of this rank's positives whose score for their target's class is below 0.5; 0 without any."""
    positive_share: Tensor
    """Share of the classification loss that this rank's positives make; the rest is its negatives'."""
    proposals: Losses | None = None
    """Of the first of two stages, whose total is a term of ``total``; None for detectors of one stage."""


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
    """The supervision of a batch anchor by anchor: losses are weighted, and neither summed nor normalised."""

    matches: Matches
    positives: Positives
    quality: Tensor
    """(P,) IoU of each positive's prediction with its target, where the class loss is taught it; else 1."""
    classification: Tensor
    """(B, A); that of ignored anchors counts nowhere."""
    box: Tensor
    """(P,) without the weights of centre-ness."""
    distribution: Tensor
    """(P,)."""
    counted: Tensor
    """(B, A) bool: the anchors that the miner keeps."""


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

    A positive that the miner drops loses its box loss too, and no longer counts for the normaliser.

    A head that predicts centre-ness (FCOS, arXiv:1904.01355, eq. 3) is taught it by binary cross entropy on the
    positives, divided as the box loss is. With ``centreness_weights`` each positive's box loss then counts by the
    centre-ness that it should have over the mean of all positives, so that with ``positives`` the sum is divided by the
    sum of the centre-ness, as in the authors' code; the paper and torchvision have no such weights. The mean is each
    batch's (over all ranks): with accumulation the batches' weighted means are averaged by their positives.

    ``class_weights`` (K,) scale the classification loss of each positive by its target's class; a scheme of
    ``losses.class_weights`` instead computes them from the positives of each batch. All else is scaled by
    ``background_weight``; None: a third of the sum of the class weights.

    A matcher that goes by predictions gets them decoded. A class loss with a state (seesaw's counts) has it kept in the
    buffer ``class_state``; in evaluation it is read and not changed. A class loss that adds up to that of its batch
    (GHM) is not divided. Ignored anchors have label -1 for losses of class indices.

    Deltas (B, A, K x D) are K boxes of each anchor, one a class: a positive's is that of its target's class.

    With ``torch.distributed`` initialised, the normaliser is the mean over all ranks, so that the gradient that DDP
    averages is that of one process on the whole batch. Mining is by rank.

    Raises ValueError for an unknown ``normalizer``, for ``quality`` with a class loss that has no soft targets, for a
    loss on deltas with a coder of distributions, and for a class loss with a state without ``num_classes``.
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
        class_weights: Tensor | ClassWeighting | None = None,
        background_weight: float | None = 1.0,
        centreness_weights: bool = True,
        num_classes: int | None = None,
    ) -> None:
        """``num_classes``: K, which only a class loss with a state needs to be told."""
        super().__init__()
        if normalizer not in NORMALIZERS:
            raise ValueError(f"Expected normalizer to be one of {NORMALIZERS} but got {normalizer!r}")
        self.class_info = loss_functions.info(class_loss)
        self.box_info = loss_functions.info(box_loss)
        if normalizer == "quality" and not self.class_info.soft_targets:
            raise ValueError(
                "Expected a class loss with soft targets for normalizer 'quality' but got hard targets: choose "
                "normalizer=positives with it, or class_loss=quality_focal"
            )
        if self.box_info.kind == "deltas" and coder.size != 4:
            raise ValueError(
                "Expected a box loss on boxes with a coder of distributions but got one on deltas: choose coder=delta "
                "with it, or a loss on boxes such as box_loss=giou"
            )
        self.matcher, self.coder, self.miner = matcher, coder, miner
        self.class_loss, self.box_loss = class_loss, box_loss
        self.box_weight = self.box_info.default_weight if box_weight is None else box_weight
        self.distribution_weight = distribution_weight if isinstance(coder, DistributionCoder) else 0.0
        self.normalizer = normalizer
        self.weighting: ClassWeighting | None = class_weights if isinstance(class_weights, str) else None
        self.background_weight = background_weight
        self.centreness_weights = centreness_weights
        self.class_weights: Tensor | None
        given = class_weights if isinstance(class_weights, Tensor) else None
        self.register_buffer("class_weights", given, persistent=False)
        self.class_state: Tensor | None
        self.register_buffer("class_state", self._initial_state(num_classes))

    def _initial_state(self, num_classes: int | None) -> Tensor | None:
        state = loss_functions.initial_state(self.class_loss, num_classes or 0)
        if state is not None and num_classes is None:
            raise ValueError("Expected num_classes with a class loss that keeps a state")
        return state

    def forward(self, anchors: Anchors | Tensor, outputs: DenseOutputs, targets: Targets) -> Losses:
        """anchors of the input, or their boxes (A, 4) where the matcher needs no grid; outputs (B, A, ...); targets
        (B, G, ...) in pixels of the input.

        Raises ValueError for labels that aren't int64 and, in eager calls on the CPU, for those outside 0..K-1 (-1 is
        padding) and for boxes that aren't finite or have no area, with image and box.
        """
        parts = self.per_anchor(anchors, outputs, targets)
        per_anchor, positives, counted = parts.classification, parts.positives, parts.counted
        box, distribution = parts.box, parts.distribution
        kept = counted[positives.image, positives.anchor].to(box.dtype)
        weights, centred = _by_centreness(outputs.centreness, positives, kept)
        if not self.centreness_weights:
            weights = torch.ones_like(weights)
        count = self._count(counted, kept, parts.quality)
        share = self._share_of_images(positives.image, kept, len(counted)) / count.clamp(min=least_divisor())
        of_classes = torch.ones_like(share) if self.class_info.normalised else share
        classification = ((per_anchor * counted).sum(1) * of_classes).sum()
        box, distribution, centred = (
            (term * kept * share[positives.image]).sum() for term in (box * weights, distribution, centred)
        )
        said = outputs.logits[positives.image, positives.anchor].detach()
        return Losses(
            classification + box + distribution + centred,
            classification,
            box,
            distribution,
            positives=(parts.matches.state == 1).sum(),
            divisor=count,
            matched=_histogram(positives.labels, self.classes_of(outputs.logits)),
            predicted=_histogram(said.argmax(-1), said.shape[-1]),
            centreness=centred,
            hard_positives=self._hard_share(said, positives.labels),
            positive_share=_share_of_positives(per_anchor.detach(), positives, counted),
        )

    def per_anchor(
        self, anchors: Anchors | Tensor, outputs: DenseOutputs, targets: Targets, matches: Matches | None = None
    ) -> AnchorLosses:
        """What each anchor answers for and its losses, before they are summed; arguments as for ``forward``.

        ``matches``: other ones than the matcher's, to see what an anchor's loss would be with them.
        """
        check_targets(*targets, classes=self.classes_of(outputs.logits))
        if not is_visible(targets.boxes):
            return self._per_anchor(anchors, outputs, targets, matches)
        with settled():  # the parts need not look at them again
            return self._per_anchor(anchors, outputs, targets, matches)

    def _per_anchor(
        self, anchors: Anchors | Tensor, outputs: DenseOutputs, targets: Targets, matches: Matches | None
    ) -> AnchorLosses:
        boxes = anchors.boxes if isinstance(anchors, Anchors) else anchors
        if matches is None:
            matches = self.match(anchors, boxes, outputs, targets)
        positives = self._gather_positives(boxes, outputs, matches, targets)
        decoded = self.coder.decode(positives.anchors, positives.deltas) if self._needs_boxes else None
        quality = torch.ones_like(positives.anchors[:, 0])
        if decoded is not None and self.class_info.soft_targets:
            quality = paired_iou(decoded.detach().float(), positives.targets)
        box = self._box_losses(positives, decoded)
        distribution = self._distribution_losses(positives)
        if self.normalizer == "quality":
            box, distribution = box * quality, distribution * quality
        classification = self._losses_per_anchor(outputs.logits, matches.state, positives, quality)
        counted = self._mine(classification, matches.state, positives, box + distribution)
        return AnchorLosses(matches, positives, quality, classification, box, distribution, counted)

    @torch.no_grad()
    def match(self, anchors: Anchors | Tensor, boxes: Tensor, outputs: DenseOutputs, targets: Targets) -> Matches:
        """Which target each anchor answers for; a matcher that goes by predictions gets them decoded."""
        if not needs_predictions(self.matcher):
            return self.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore)
        logits = outputs.logits.float()
        scores = logits.sigmoid() if self.class_info.kind == "sigmoid" else logits.softmax(-1)
        predictions = self.coder.decode(boxes, outputs.deltas.float())
        return self.matcher(
            anchors, targets.boxes, targets.labels, ignore=targets.ignore, scores=scores, predictions=predictions
        )

    def _gather_positives(
        self, anchors: Tensor, outputs: DenseOutputs, matches: Matches, targets: Targets
    ) -> Positives:
        image, anchor = torch.nonzero(matches.state == 1, as_tuple=True)
        target = matches.gt_index[image, anchor]
        labels, predicted = targets.labels[image, target], outputs.deltas[image, anchor]
        if predicted.shape[1] != self.coder.size:  # boxes of its own for every class: the target's counts
            of_classes = predicted.view(len(labels), self.classes_of(outputs.logits), self.coder.size)
            predicted = of_classes[torch.arange(len(labels), device=labels.device), labels]
        return Positives(image, anchor, labels, anchors[anchor], targets.boxes[image, target], predicted)

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

    def classes_of(self, logits: Tensor) -> int:
        """K of logits (..., K')."""
        return logits.shape[-1] - (self.class_info.kind == "softmax")

    def _hard_share(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Share of positives (P, K') whose score for their label (P,) is below 0.5."""
        scores = logits.sigmoid() if self.class_info.kind == "sigmoid" else logits.softmax(-1)
        hard = scores.gather(1, labels.unsqueeze(1)) < 0.5
        return hard.sum() / max(len(labels), 1)

    def _mine(self, per_anchor: Tensor, state: Tensor, positives: Positives, box: Tensor) -> Tensor:
        """(B, A) mask of the anchors whose losses count; ``box`` (P,) weighted."""
        if self.miner is None:
            return state >= 0
        ranking = ranking_of(self.miner)
        if ranking == "nothing":
            return self.miner(state)
        ranks = per_anchor.detach()
        if ranking == "both":
            ranks = ranks.index_put((positives.image, positives.anchor), box.detach(), accumulate=True)
        return self.miner(ranks, state)

    def _losses_per_anchor(self, logits: Tensor, state: Tensor, positives: Positives, quality: Tensor) -> Tensor:
        """(B, A) weighted classification losses; those of ignored anchors count nowhere."""
        if self.class_info.soft_targets:
            target = logits.new_zeros(logits.shape, dtype=torch.float32)
            target[positives.image, positives.anchor, positives.labels] = quality
        else:
            target = torch.where(state < 0, -1, self.classes_of(logits))
            target[positives.image, positives.anchor] = positives.labels
        options: dict[str, Any] = {"reduction": "rows"} if self.class_info.kind == "sigmoid" else {}
        if self.class_state is not None:
            options["state"] = self.class_state if self.training else self.class_state.clone()
        losses = self.class_loss(logits.flatten(0, 1), target.flatten(0, 1), **options).view(state.shape)
        weights = self._class_weights(positives.labels, self.classes_of(logits), losses)
        return losses if weights is None else losses * self._spread(weights, losses, positives)

    def _class_weights(self, labels: Tensor, classes: int, losses: Tensor) -> Tensor | None:
        """(K,) weights of the classes; None where all are 1 and background's too."""
        if self.weighting is not None:
            return loss_functions.class_weights(_histogram(labels, classes), self.weighting)
        if self.class_weights is None and self.background_weight != 1:
            return losses.new_ones(classes)
        return self.class_weights

    def _spread(self, weights: Tensor, losses: Tensor, positives: Positives) -> Tensor:
        """(B, A) the weight of every anchor."""
        weights = weights.to(losses.dtype)
        background = weights.sum() / 3 if self.background_weight is None else self.background_weight
        spread = torch.ones_like(losses) * background
        spread[positives.image, positives.anchor] = weights[positives.labels]
        return spread

    def _count(self, counted: Tensor, kept: Tensor, quality: Tensor) -> Tensor:
        """The scalar that the sums are divided by where it is at least 1, over all ranks."""
        if self.normalizer == "quality":
            count = (quality * kept).sum()
        elif self.normalizer == "positives":
            count = kept.sum()
        elif self.normalizer == "samples":
            count = counted.sum().to(kept.dtype)
        else:
            count = kept.new_tensor(float(len(counted)))
        return _mean_over_ranks(count)

    def _share_of_images(self, image: Tensor, kept: Tensor, images: int) -> Tensor:
        """(B,) factor of each image's losses: 1, or 1 / its own positives."""
        if self.normalizer != "image":
            return kept.new_ones(images)
        return 1 / kept.new_zeros(images).index_add(0, image, kept).clamp(min=1)


def least_divisor() -> float:
    """The smallest divisor of a batch's sums: 1 over all ranks, of which each has its mean."""
    return 1 / _ranks()


def _ranks() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def _mean_over_ranks(count: Tensor) -> Tensor:
    if _ranks() == 1:
        return count
    total = count.clone()
    torch.distributed.all_reduce(total)
    return total / _ranks()


def _histogram(values: Tensor, length: int) -> Tensor:
    """(length,) how often each value occurs; unlike bincount without a wait for the device."""
    zeros = torch.zeros(length, dtype=torch.int64, device=values.device)
    return zeros.index_add(0, values, torch.ones_like(values))


def _share_of_positives(losses: Tensor, positives: Positives, counted: Tensor) -> Tensor:
    """Their part of the losses (B, A) that count, 0 where nothing does."""
    losses = losses * counted
    return safe_ratio(losses[positives.image, positives.anchor].sum(), losses.sum())


def _by_centreness(logits: Tensor | None, positives: Positives, kept: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) weights of the box losses, whose mean over the ``kept`` of all ranks is 1, and losses of the centre-ness."""
    if logits is None:
        return torch.ones_like(kept), torch.zeros_like(kept)
    wanted = centreness(positives.anchors, positives.targets).to(kept.dtype)
    total, count = _mean_over_ranks(torch.stack([(wanted * kept).sum(), kept.sum()])).unbind()
    said = logits[positives.image, positives.anchor].unsqueeze(-1)
    losses = loss_functions.binary_cross_entropy(said, wanted.unsqueeze(-1), reduction="rows")
    return wanted * safe_ratio(count, total), losses
