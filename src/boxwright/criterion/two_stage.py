"""The supervision of two stages: a criterion for the proposals and one for the regions chosen from them.

Regions are on no grid and differ from image to image, so they are matched image by image; everything else is done for
the batch, whose images are padded to the same number of regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from boxwright._util.checks import check_targets, has_area
from boxwright.anchors import Anchors
from boxwright.criterion.dense import DenseCriterion
from boxwright.criterion.results import Losses
from boxwright.types import DenseOutputs, Matches, RoIOutputs, Targets, TwoStageOutputs


class TwoStageCriterion(nn.Module):
    """Supervise two stages: ``rpn`` separates objects from background, ``roi`` tells the classes apart.

    A training step: ``outputs = detector(images)``; ``rois = criterion.select(outputs.proposals, targets)``;
    ``refined = detector.refine(outputs.features, rois)``; then ``criterion(anchors, outputs, targets)`` with both in
    the outputs. Each stage is matched, mined, weighted and normalized by its own criterion (Faster R-CNN,
    arXiv:1506.01497, sections 3.1.2 and 3.1.3; Fast R-CNN, arXiv:1504.08083, section 2.3).
    """

    def __init__(self, rpn: DenseCriterion, roi: DenseCriterion) -> None:
        super().__init__()
        self.rpn, self.roi = rpn, roi

    def select(self, proposals: Sequence[Tensor], targets: Targets) -> list[Tensor]:
        """Select the regions of each image that the second stage learns from; see ``select_rois``."""
        return select_rois(self.roi, proposals, targets)

    def forward(self, anchors: Anchors | Tensor, outputs: TwoStageOutputs, targets: Targets) -> Losses:
        """Compute the losses of both stages; the terms of the first are prefixed with "proposals".

        ``stats`` are the second stage's. ``divisor`` is the number of images: accumulated batches are averaged by it,
        since each stage has its own divisor.

        Raises:
            ValueError: If the outputs have no regions, or for targets that a criterion refuses.
        """
        if outputs.rois is None or outputs.refined is None:
            raise ValueError("Expected outputs with the regions chosen by select, and refined, but got none")
        classes = outputs.refined.logits.shape[-1] - self.roi.background
        check_targets(*targets, classes=classes)  # checked here, before all classes become one
        objects = targets._replace(labels=targets.labels.clamp(max=0))
        first = self.rpn(anchors, outputs.rpn, objects)
        second = roi_losses(self.roi, outputs.rois, outputs.refined, targets)
        images = second.total.new_full((), len(outputs.rois))
        terms = {f"proposals {name}": term for name, term in first.terms.items()}
        return Losses(first.total + second.total, second.terms | terms, second.stats, images)


@torch.no_grad()
def select_rois(criterion: DenseCriterion, proposals: Sequence[Tensor], targets: Targets) -> list[Tensor]:
    """Select the regions (r, 4) of each image for the second stage from its proposals (n, 4) and its true boxes.

    A miner that needs no losses selects here, before features are pooled; with any other, or none, all go through.

    Raises:
        ValueError: For boxes or labels that the criterion refuses.
    """
    check_targets(*targets)
    real = (targets.labels >= 0) & has_area(targets.boxes)
    true = torch.split(targets.boxes[real], real.sum(1).tolist())
    rois = [torch.cat([boxes, own.to(boxes)]) for boxes, own in zip(proposals, true, strict=True)]
    if criterion.miner is None or criterion.miner_info.ranks_by != "nothing":
        return rois
    matches = [
        criterion.matcher(boxes, *target[:2], ignore=target.ignore)
        for boxes, target in zip(rois, targets.by_image(), strict=True)
    ]
    chosen = criterion.miner(_padded(matches).state)  # (B, R)
    return list(torch.split(pad_sequence(rois, batch_first=True)[chosen], chosen.sum(1).tolist()))


def roi_losses(criterion: DenseCriterion, rois: Sequence[Tensor], outputs: RoIOutputs, targets: Targets) -> Losses:
    """Compute the losses of a batch whose images have their own regions (r, 4); ``outputs`` (R, ...) cover all."""
    of_images = outputs.by_image([len(boxes) for boxes in rois])
    matches = [
        criterion.match(boxes, boxes, pred, target)
        for boxes, pred, target in zip(rois, of_images, targets.by_image(), strict=True)
    ]
    logits, deltas = (
        pad_sequence([field[0] for field in fields], batch_first=True)
        for fields in zip(*(pred[:2] for pred in of_images), strict=True)
    )
    boxes = pad_sequence(list(rois), batch_first=True)  # (B, R, 4)
    losses: Losses = criterion(boxes, DenseOutputs(logits, deltas), targets, _padded(matches))
    return losses


def _padded(images: Sequence[Matches]) -> Matches:
    """Pad the matches (1, r) of each image to (B, R); the padding is ignored."""
    gt_index, state, iou = (
        pad_sequence([field[0] for field in fields], batch_first=True, padding_value=padding)
        for fields, padding in zip(zip(*images, strict=True), (0, -1, 0), strict=True)
    )
    return Matches(gt_index, state, iou)
