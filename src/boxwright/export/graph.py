"""From pixels to boxes in modules that torch.export accepts: no loop over images, no value-dependent shapes.

Shape shorthand: B images, A anchors, K classes, n candidates, M = the recipe's ``max_detections``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.anchors import Anchors, make_anchors
from boxwright.boxes import clip_boxes, clip_boxes_of_images
from boxwright.models.dense import DenseDetector
from boxwright.models.selection import candidate_pairs, least_vote
from boxwright.nms import vote_boxes
from boxwright.recipes import Recipe

torch.library.define("boxwright::kept_by_nms", "(Tensor boxes, Tensor scores, float iou) -> Tensor")


@torch.library.register_fake("boxwright::kept_by_nms")  # type: ignore[untyped-decorator]
def _kept_by_nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Select the boxes (B, n, 4) that stay, (B, n) bool; each is scored in one column of (B, C, n), others are -1."""
    return boxes.new_empty(boxes.shape[:2], dtype=torch.bool)


class Raw(NamedTuple):
    """A network's scores and boxes at every anchor."""

    scores: Tensor
    """(B, A, K) in 0..1."""
    boxes: Tensor
    """(B, A, 4) xyxy in pixels of the input; they may reach out of it."""


class RawGraph(nn.Module):
    """Pixels (B, H, W, 3) in 0..255, at the size of the network's input -> scores and boxes at all anchors.

    The first ``shown`` (B, 2) rows and columns of inputs of any size are the picture; None: all is, of one size.
    """

    def __init__(self, detector: DenseDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor, shown: Tensor | None = None) -> Raw:
        """Compute scores and boxes of all anchors from pixels (B, H, W, 3)."""
        detector = self.detector
        x = detector.normalize(images.permute(0, 3, 1, 2), shown)
        outputs = detector(x.to(next(detector.net.parameters()).dtype))
        boxes = detector.coder.decode(self.anchors(images, shown).boxes, outputs.deltas.float())
        return Raw(detector.scores(outputs), boxes)

    def anchors(self, images: Tensor, shown: Tensor | None) -> Anchors:
        """Return the input's anchors, computed in the graph if inputs may have any size."""
        if shown is None:
            return self.detector.anchors
        return make_anchors(self.detector.spec, (images.shape[1], images.shape[2]))


class Selection(nn.Module):
    """Scores (B, A, K) and boxes (B, A, 4) -> what the recipe's NMS and vote leave, padded to M.

    Boxes (B, M, 4), scores (B, M) falling, labels (B, M) and how many there are (B,); padding is 0, with label -1.
    """

    least: Tensor
    labels: Tensor

    def __init__(self, recipe: Recipe, least: Sequence[float]) -> None:
        """Take the recipe's rules; ``least``: the score of each class above which detections are returned."""
        super().__init__()
        self.recipe = recipe
        self.register_buffer("least", torch.tensor(least), persistent=False)
        self.register_buffer("labels", torch.arange(len(least)), persistent=False)
        self.lowest = min(least)

    def forward(
        self, scores: Tensor, boxes: Tensor, maps: Sequence[int], shown: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Select the detections; ``maps``: anchors of each feature map; boxes are clipped to what is ``shown``."""
        recipe = self.recipe
        best, anchor, labels = candidate_pairs(scores, recipe, maps)  # (B, n)
        votes = torch.where(best > least_vote(self.lowest, recipe), best, 0)
        best = torch.where(best > self.lowest, best, 0)
        boxes = _rows(boxes, anchor)
        if shown is None:
            boxes = clip_boxes(boxes, (recipe.image_size, recipe.image_size))
        else:
            boxes = clip_boxes_of_images(boxes, shown)
        kept = torch.ops.boxwright.kept_by_nms(boxes, self._columns(best, labels), recipe.nms_threshold)
        found, place = torch.where(kept, best, 0).topk(torch.sym_min(recipe.max_detections, best.shape[1]))
        own, voted = labels.gather(1, place), _rows(boxes, place)
        if recipe.vote:
            voted = vote_boxes(voted, own, boxes, votes, labels, recipe.vote)
        return self._padded(found, own, voted)

    def _columns(self, best: Tensor, labels: Tensor) -> Tensor:
        """(B, K, n) scores of the candidates that may suppress one another, each in its class's row; -1 elsewhere."""
        there = (best > 0).unsqueeze(1)
        if not self.recipe.nms_agnostic:
            there = there & (labels.unsqueeze(1) == self.labels.unsqueeze(-1))
        return torch.where(there, best.unsqueeze(1), -1)

    def _padded(self, scores: Tensor, labels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Move those above the score of their class to the front."""
        shown = scores > self.least[labels]
        scores, place = torch.where(shown, scores, 0).topk(scores.shape[1])
        labels = torch.where(scores > 0, labels.gather(1, place), -1)
        boxes = torch.where((scores > 0).unsqueeze(-1), _rows(boxes, place), 0)
        missing = self.recipe.max_detections - scores.shape[1]
        padded = F.pad(boxes, (0, 0, 0, missing)), F.pad(scores, (0, missing)), F.pad(labels, (0, missing), value=-1)
        return *padded, shown.sum(1)


class WholeGraph(nn.Module):
    """Pixels (B, H, W, 3) -> the detections of ``Selection``, and the outputs of ``RawGraph``."""

    def __init__(self, detector: DenseDetector, least: Sequence[float]) -> None:
        super().__init__()
        self.raw, self.selection = RawGraph(detector), Selection(detector.recipe, least)

    def forward(self, images: Tensor, shown: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute detections, scores and boxes from pixels (B, H, W, 3)."""
        raw = self.raw(images, shown)
        maps = [level.count for level in self.raw.anchors(images, shown).levels]
        return *self.selection(*raw, maps, shown), *raw


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Select rows (B, n, 4) of values (B, A, 4)."""
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
