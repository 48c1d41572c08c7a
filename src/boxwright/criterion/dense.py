"""The supervision of a dense head: match, mine, encode, penalize, normalize."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import reduce
from operator import add
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from boxwright import losses as loss_functions
from boxwright._util.checks import check_targets, is_visible, settled
from boxwright.anchors import Anchors
from boxwright.boxes import paired_iou, safe_ratio
from boxwright.coding import BoxCoder, DistributionCoder
from boxwright.criterion.centerness import centerness_terms
from boxwright.criterion.class_weights import ClassWeights
from boxwright.criterion.normalizers import NORMALIZERS, RULES, Normalizer, least_divisor, mean_over_ranks
from boxwright.criterion.results import AnchorLosses, Losses, Positives, Stats
from boxwright.criterion.returned import check_losses, check_mask, check_matches
from boxwright.losses import ClassWeighting
from boxwright.parts import (
    BoxLossInfo,
    ClassLossInfo,
    MinerInfo,
    box_loss_info,
    class_loss_info,
    matcher_info,
    miner_info,
)
from boxwright.types import DenseOutputs, Matches, Targets


class Matcher(Protocol):
    """Any function of ``boxwright.matching`` with its options bound."""

    def __call__(
        self, anchors: Any, boxes: Tensor, labels: Tensor, *, ignore: Tensor, **predictions: Tensor
    ) -> Matches:
        """Match each anchor with at most one target."""


class DenseCriterion(nn.Module):
    """Supervise a dense head: ``criterion(anchors, outputs, targets) -> Losses``.

    It has no loop over images or boxes. A batch without targets is allowed: its box loss is 0 and every output stays
    connected to the graph.

    ``normalizer`` is what the summed losses are divided by:

    * ``positives``: the positives of the batch, at least 1;
    * ``quality``: the sum of the positives' IoU with their targets, at least 1; each positive's box loss is weighted by
    that IoU;
    * ``image``: each image by its own positives, then the mean over images;
    * ``batch``: the number of images;
    * ``samples``: the anchors whose classification loss counts.

    A positive that the miner drops loses its box loss too and does not count for the normalizer.

    A class loss with soft targets (quality focal loss) gets the IoU of the decoded prediction with its target, detached
    (Generalized Focal Loss, arXiv:2006.04388, section 3). Boxes are decoded only for positives, and only if a loss
    needs them.

    If the head predicts centerness (FCOS, arXiv:1904.01355, eq. 3), it learns it by binary cross entropy on the
    positives, divided as the box loss is. With ``centerness_weights`` each positive's box loss is also weighted by its
    true centerness over the mean of all positives, so that with ``positives`` the sum is divided by the sum of
    centerness, as in the authors' code (the paper and torchvision have no such weights). The mean is over the batch and
    all ranks; with accumulation the batches' weighted means are averaged by their positives.

    ``class_weights`` (K,) scale the classification loss of each positive by its target's class; a ``ClassWeights``
    gives other rules.

    Losses, matchers and miners declare what they need (``boxwright.parts``), which is read once, when the criterion is
    built. A matcher that needs predictions gets them decoded. The state of a class loss (seesaw's counts) is kept in
    the buffer ``class_state`` and not changed in evaluation. A class loss that already sums to that of its batch (GHM)
    is not divided. Ignored anchors have label -1 for losses on class indices. Deltas (B, A, K x D) are K boxes per
    anchor, one per class: a positive uses that of its target's class.

    With ``torch.distributed`` initialized, the normalizer is the mean over all ranks, so that the gradient that DDP
    averages is that of one process on the whole batch. Mining is per rank.

    Raises:
        ValueError: If a part is declared as another kind, ``normalizer`` is unknown, ``quality`` comes with a class
            loss without soft targets, a loss on deltas with a coder of distributions, or a class loss with a state
            without ``num_classes``.

    Examples:
        >>> from functools import partial
        >>> criterion = bw.DenseCriterion(
        ...     matcher=partial(bw.matching.match_iou, positive=0.5, negative=0.4),
        ...     coder=bw.coding.DeltaCoder(),
        ...     class_loss=bw.losses.sigmoid_focal_loss,
        ...     box_loss=bw.losses.giou_loss,
        ... )
        >>> anchors = bw.anchors.make_anchors(bw.anchors.AnchorSpec.squares((16,), 2), 64)
        >>> outputs = bw.DenseOutputs(torch.zeros(1, 16, 3), torch.zeros(1, 16, 4))
        >>> boxes, labels = torch.tensor([[[0.0, 0, 30, 30]]]), torch.tensor([[2]])
        >>> losses = criterion(anchors, outputs, bw.Targets(boxes, labels, labels < 0))
        >>> sorted(losses.terms)
        ['box', 'classification']
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
        class_weights: Tensor | ClassWeighting | ClassWeights | None = None,
        centerness_weights: bool = True,
        num_classes: int | None = None,
    ) -> None:
        """Take the parts with their options bound.

        Args:
            matcher: Pairs anchors with targets.
            coder: Encodes and decodes boxes.
            class_loss: Loss of the class logits.
            box_loss: Loss of the boxes or the deltas, as it declares.
            miner: Chooses the anchors whose classification loss counts; None: all.
            box_weight: Factor of the box loss; None: the loss's own default.
            distribution_weight: Factor of the distribution loss, for a coder that has one.
            normalizer: See the class.
            class_weights: See the class.
            centerness_weights: Weigh box losses by centerness.
            num_classes: K, which only a class loss with a state needs.
        """
        super().__init__()
        self.class_info, self.box_info = class_loss_info(class_loss), box_loss_info(box_loss)
        self.background = int(self.class_info.kind == "softmax")
        """Number of columns of the logits (B, A, K') beyond the K classes."""
        self.matcher_info = matcher_info(matcher)
        self.miner_info = MinerInfo("miner") if miner is None else miner_info(miner)
        _check(normalizer, self.class_info, self.box_info, coder)
        self.matcher, self.coder, self.miner = matcher, coder, miner
        self.class_loss, self.box_loss = class_loss, box_loss
        self.box_weight = self.box_info.default_weight if box_weight is None else box_weight
        self.distribution_weight = distribution_weight
        self.normalizer = normalizer
        self.centerness_weights = centerness_weights
        if class_weights is not None and not isinstance(class_weights, ClassWeights):
            class_weights = ClassWeights(class_weights)
        self.class_weights: ClassWeights | None = class_weights
        self.class_state: Tensor | None
        self.register_buffer("class_state", loss_functions.initial_state(class_loss, num_classes))

    def forward(
        self, anchors: Anchors | Tensor, outputs: DenseOutputs, targets: Targets, matches: Matches | None = None
    ) -> Losses:
        """Compute the losses of a batch.

        Args:
            anchors: Anchors of the input, or their boxes (A, 4) if the matcher needs no grid.
            outputs: Predictions (B, A, ...).
            targets: Targets (B, G, ...) in pixels of the input.
            matches: Use these instead of the matcher's; images may then have boxes of their own, (B, A, 4).

        Raises:
            ValueError: If labels are not int64; in eager calls on the CPU also, naming image and box, if a label is
                outside 0..K-1 (-1 is padding) or a box is not finite or has no area.
        """
        parts = self.per_anchor(anchors, outputs, targets, matches)
        positives, counted = parts.positives, parts.counted
        kept = counted[positives.image, positives.anchor].to(parts.box.dtype)  # (P,)
        count, share = RULES[self.normalizer](counted, positives.image, kept, parts.quality)
        divisor = mean_over_ranks(count)
        share = share / divisor.clamp(min=least_divisor())  # (B,)

        per_positive = {"box": parts.box}
        if isinstance(self.coder, DistributionCoder):
            per_positive["distribution"] = parts.distribution
        if outputs.centerness is not None:
            weights, per_positive["centerness"] = centerness_terms(outputs.centerness, positives, kept)
            if self.centerness_weights:
                per_positive["box"] = parts.box * weights

        of_images = (parts.classification * counted).sum(1)
        terms = {"classification": (of_images if self.class_info.normalized else of_images * share).sum()}
        terms |= {name: (loss * kept * share[positives.image]).sum() for name, loss in per_positive.items()}
        return Losses(reduce(add, terms.values()), terms, self._stats(outputs.logits, parts), divisor)

    def per_anchor(
        self, anchors: Anchors | Tensor, outputs: DenseOutputs, targets: Targets, matches: Matches | None = None
    ) -> AnchorLosses:
        """Compute what each anchor answers for and its losses, before they are summed; arguments as for ``forward``.

        ``matches``: other matches than the matcher's, to see what an anchor's loss would be with them.
        """
        check_targets(*targets, classes=outputs.logits.shape[-1] - self.background)
        with settled() if is_visible(targets.boxes) else nullcontext():  # the parts need not check them again
            boxes = anchors.boxes if isinstance(anchors, Anchors) else anchors
            matches = matches or self.match(anchors, boxes, outputs, targets)
            positives = self._gather_positives(boxes, outputs, matches, targets)

            # Boxes are decoded only for the positives, and only where a loss compares them.
            decoded, quality = None, torch.ones_like(positives.anchors[:, 0])
            if self.class_info.soft_targets or self.box_info.space == "boxes":
                decoded = self.coder.decode(positives.anchors, positives.deltas)
            if decoded is not None and self.class_info.soft_targets:
                quality = paired_iou(decoded.detach().float(), positives.targets)

            box, distribution = self._box_losses(positives, decoded)
            if self.normalizer == "quality":
                box, distribution = box * quality, distribution * quality
            classification = self._class_losses(outputs.logits, matches.state, positives, quality)
            counted = self._mine(classification, matches, positives, box + distribution)
        return AnchorLosses(matches, positives, quality, classification, box, distribution, counted)

    @torch.no_grad()
    def match(self, anchors: Anchors | Tensor, boxes: Tensor, outputs: DenseOutputs, targets: Targets) -> Matches:
        """Find which target each anchor answers for; the matcher gets the predictions that it declares to need."""
        needs, needed = self.matcher_info.needs, {}
        if "scores" in needs:
            logits = outputs.logits.float()
            needed["scores"] = logits.sigmoid() if self.class_info.kind == "sigmoid" else logits.softmax(-1)
        if "predictions" in needs:
            needed["predictions"] = self.coder.decode(boxes, outputs.deltas.float())
        matches = self.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore, **needed)
        return check_matches(matches, self.matcher, len(targets.labels), len(boxes))

    def _gather_positives(
        self, anchors: Tensor, outputs: DenseOutputs, matches: Matches, targets: Targets
    ) -> Positives:
        image, anchor = torch.nonzero(matches.state == 1, as_tuple=True)
        target = matches.gt_index[image, anchor]
        labels, predicted = targets.labels[image, target], outputs.deltas[image, anchor]
        if predicted.shape[1] != self.coder.dim:  # a box for every class: take the target's class
            of_classes = predicted.view(len(labels), outputs.logits.shape[-1] - self.background, self.coder.dim)
            predicted = of_classes[torch.arange(len(labels), device=labels.device), labels]
        own = anchors[anchor] if anchors.ndim == 2 else anchors[image, anchor]
        return Positives(image, anchor, labels, own, targets.boxes[image, target], predicted)

    def _box_losses(self, positives: Positives, decoded: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute weighted box losses (P,), and those of the distributions (P,), 0 for a coder without them."""
        if self.box_info.space == "boxes":
            box = self.box_loss(decoded, positives.targets)
        else:
            box = self.box_loss(positives.deltas, self.coder.encode(positives.anchors, positives.targets))
        box = check_losses(box, self.box_loss, len(positives.labels), "one for each pair of boxes")
        if not isinstance(self.coder, DistributionCoder):
            return self.box_weight * box, positives.deltas.new_zeros(len(positives.labels))
        logits = positives.deltas.view(-1, 4, self.coder.bins)
        distances = self.coder.distances(positives.anchors, positives.targets)
        distribution = loss_functions.distribution_focal_loss(logits, distances)
        return self.box_weight * box, self.distribution_weight * distribution

    def _class_losses(self, logits: Tensor, state: Tensor, positives: Positives, quality: Tensor) -> Tensor:
        """Compute weighted classification losses (B, A); those of ignored anchors do not count."""
        classes = logits.shape[-1] - self.background
        if self.class_info.soft_targets:
            target = logits.new_zeros(logits.shape, dtype=torch.float32)
            target[positives.image, positives.anchor, positives.labels] = quality
        else:
            target = torch.where(state < 0, -1, classes)
            target[positives.image, positives.anchor] = positives.labels
        options: dict[str, Any] = {"reduction": "rows"} if self.class_info.kind == "sigmoid" else {}
        if self.class_state is not None:
            options["state"] = self.class_state if self.training else self.class_state.clone()
        losses = self.class_loss(logits.flatten(0, 1), target.flatten(0, 1), **options)
        losses = check_losses(losses, self.class_loss, state.numel(), "one for each row of logits").view(state.shape)
        if self.class_weights is None:
            return losses
        weighted: Tensor = self.class_weights(losses, state, positives, classes)
        return weighted

    def _mine(self, per_anchor: Tensor, matches: Matches, positives: Positives, box: Tensor) -> Tensor:
        """Compute the mask (B, A) of the anchors whose losses count; ``box`` (P,) is weighted."""
        if self.miner is None:
            return matches.state >= 0
        if self.miner_info.ranks_by == "nothing":
            return check_mask(self.miner(matches.state), self.miner, *matches.state.shape)
        ranks = per_anchor.detach()
        if self.miner_info.ranks_by == "both":
            ranks = ranks.index_put((positives.image, positives.anchor), box.detach(), accumulate=True)
        needed = {"gt_index": matches.gt_index} if "gt_index" in self.miner_info.needs else {}
        return check_mask(self.miner(ranks, matches.state, **needed), self.miner, *matches.state.shape)

    @torch.no_grad()
    def _stats(self, logits: Tensor, parts: AnchorLosses) -> Stats:
        """Count what the head predicts for its positives, logits (B, A, K'), for display only."""
        positives, losses = parts.positives, parts.classification * parts.counted
        pred = logits[positives.image, positives.anchor]
        scores = pred.sigmoid() if self.class_info.kind == "sigmoid" else pred.softmax(-1)
        hard = scores.gather(1, positives.labels.unsqueeze(1)) < 0.5
        one = torch.ones_like(positives.labels)  # summed by index: bincount would wait for the device
        return Stats(
            positives=one.sum(),
            matched=one.new_zeros(pred.shape[-1] - self.background).index_add(0, positives.labels, one),
            predicted=one.new_zeros(pred.shape[-1]).index_add(0, pred.argmax(-1), one),
            hard_positives=hard.sum() / max(len(hard), 1),
            positive_share=safe_ratio(losses[positives.image, positives.anchor].sum(), losses.sum()),
        )


def _check(normalizer: str, class_info: ClassLossInfo, box_info: BoxLossInfo, coder: BoxCoder) -> None:
    """Raise ValueError for parts that do not fit together."""
    if normalizer not in NORMALIZERS:
        raise ValueError(f"Expected normalizer to be one of {NORMALIZERS} but got {normalizer!r}")
    if normalizer == "quality" and not class_info.soft_targets:
        raise ValueError(
            "Expected a class loss with soft targets for normalizer 'quality' but got hard targets: choose "
            "normalizer=positives with it, or class_loss=quality_focal"
        )
    if box_info.space == "distribution":
        raise ValueError("Expected a box loss on boxes or deltas but got one on distributions: the coder adds that")
    if box_info.space == "deltas" and coder.dim != 4:
        raise ValueError(
            "Expected a box loss on boxes with a coder of distributions but got one on deltas: choose coder=delta "
            "with it, or a loss on boxes such as box_loss=giou"
        )
