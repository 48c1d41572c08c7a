"""The supervision of two stages: a criterion for the proposals, and one for the regions that are chosen of them.

Regions lie on no grid and differ from image to image, so they are matched and mined image by image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from boxwright._util.checks import check_targets, has_area
from boxwright.anchors import Anchors
from boxwright.boxes import safe_ratio
from boxwright.criterion.dense import DenseCriterion
from boxwright.criterion.normalizers import least_divisor
from boxwright.criterion.results import Losses, Stats
from boxwright.parts import miner_info
from boxwright.types import DenseOutputs, Targets, TwoStageOutputs


class TwoStageCriterion(nn.Module):
    """``rpn`` teaches the first stage to tell objects from background, ``roi`` the second one to tell classes.

    A training step: ``outputs = detector(images)``; ``rois = criterion.select(outputs.proposals, targets)``;
    ``refined = detector.refine(outputs.features, rois)``; then ``criterion(anchors, outputs, targets)`` with both in
    the outputs. Each stage is matched, mined, weighted and normalized by its own criterion (Faster R-CNN,
    arXiv:1506.01497, sections 3.1.2 and 3.1.3; Fast R-CNN, arXiv:1504.08083, section 2.3).
    """

    def __init__(self, rpn: DenseCriterion, roi: DenseCriterion) -> None:
        super().__init__()
        self.rpn, self.roi = rpn, roi

    def select(self, proposals: Sequence[Tensor], targets: Targets) -> list[Tensor]:
        """The regions of each image that the second stage learns from, see ``select_rois``."""
        return select_rois(self.roi, proposals, targets)

    def forward(self, anchors: Anchors | Tensor, outputs: TwoStageOutputs, targets: Targets) -> Losses:
        """Compute the losses of both stages; the terms of the first have "proposals" before their names.

        ``stats`` are the second stage's. ``divisor`` is the number of images: accumulated batches are averaged by it,
        since each stage has a divisor of its own. Raises ValueError for outputs without regions, and for targets as
        each criterion does.
        """
        if outputs.rois is None or outputs.refined is None:
            raise ValueError("Expected outputs with the regions chosen by select, and refined, but got none")
        check_targets(*targets, classes=self.roi.classes_of(outputs.refined.logits))  # before all are one class
        objects = targets._replace(labels=targets.labels.clamp(max=0))
        first = self.rpn(anchors, outputs.rpn, objects)
        refined = outputs.refined.by_image([len(boxes) for boxes in outputs.rois])
        second = roi_losses(self.roi, outputs.rois, refined, targets)
        images = second.total.new_full((), len(outputs.rois))
        terms = {f"proposals {name}": term for name, term in first.terms.items()}
        return Losses(first.total + second.total, second.terms | terms, second.stats, images)


@torch.no_grad()
def select_rois(criterion: DenseCriterion, proposals: Sequence[Tensor], targets: Targets) -> list[Tensor]:
    """The regions (r, 4) of each image that go through the second stage: its proposals (n, 4) and its true boxes.

    A miner that asks for no losses chooses among them here, before features are pooled; after all others, and without
    one, all go. Raises ValueError as the criterion does for boxes and labels.
    """
    check_targets(*targets)
    chosen = []
    for row, boxes in enumerate(proposals):
        target = targets.of_image(row)
        true = target.boxes[(target.labels >= 0) & has_area(target.boxes)]
        boxes = torch.cat([boxes, true.to(boxes)])
        if criterion.miner is not None and miner_info(criterion.miner).ranks_by == "nothing":
            matches = criterion.matcher(boxes, target.boxes, target.labels, ignore=target.ignore)
            boxes = boxes[criterion.miner(matches.state)[0]]
        chosen.append(boxes)
    return chosen


def roi_losses(
    criterion: DenseCriterion, rois: Sequence[Tensor], outputs: Sequence[DenseOutputs], targets: Targets
) -> Losses:
    """The losses of a batch whose images have regions (r, 4) of their own, with outputs (1, r, ...)."""
    pairs = zip(rois, outputs, strict=True)
    return _over_images([criterion(boxes, said, targets.of_image(row)) for row, (boxes, said) in enumerate(pairs)])


def _over_images(images: list[Losses]) -> Losses:
    """Put the losses of a batch's images together: sums add up, and so do what they are divided by."""
    least = least_divisor()
    divisors = torch.stack([losses.divisor for losses in images]).float()
    shares = divisors.clamp(min=least) / divisors.sum().clamp(min=least)
    total = (torch.stack([losses.total for losses in images]) * shares).sum()
    terms = {name: (torch.stack([losses.terms[name] for losses in images]) * shares).sum() for name in images[0].terms}
    classification = torch.stack([losses.classification.detach() for losses in images]) * divisors.clamp(min=least)
    return Losses(total, terms, _stats_over_images([losses.stats for losses in images], classification), divisors.sum())


def _stats_over_images(images: list[Stats], classification: Tensor) -> Stats:
    """Counts add up; shares are weighted means, by positives and by the sum of the ``classification`` losses (B,)."""
    columns = Stats(*(torch.stack(column) for column in zip(*images, strict=True)))
    positives = columns.positives.float()
    return Stats(
        positives=columns.positives.sum(0),
        matched=columns.matched.sum(0),
        predicted=columns.predicted.sum(0),
        hard_positives=safe_ratio((columns.hard_positives * positives).sum(), positives.sum()),
        positive_share=safe_ratio((columns.positive_share * classification).sum(), classification.sum()),
    )
