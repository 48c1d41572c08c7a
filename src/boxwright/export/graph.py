"""From pixels to boxes in modules that torch.export accepts: no loop over images, no value-dependent shapes.

Shape shorthand: B images, A anchors, K classes, n candidates, M = the recipe's ``max_detections``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.anchors import Anchors, make_anchors
from boxwright.boxes import clip_boxes, clip_boxes_of_images
from boxwright.export.suppression import Suppress
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector
from boxwright.models.faster_rcnn import at_least
from boxwright.models.selection import candidate_pairs, min_vote_score
from boxwright.nms import vote_boxes
from boxwright.recipes import Recipe


class Raw(NamedTuple):
    """A network's scores and boxes at every anchor."""

    scores: Tensor
    """(B, A, K) in 0..1."""
    boxes: Tensor
    """(B, A, 4) xyxy in pixels of the input; they may reach out of it."""


class RawGraph(Protocol):
    """Compute scores (B, A, K) and boxes (B, A, 4) or (B, A, K, 4), followed by the values they came from."""

    def __call__(self, images: Tensor, valid_size: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute the outputs for images (B, H, W, 3); ``valid_size`` (B, 2) is each one's size without padding."""

    def maps(self, images: Tensor, valid_size: Tensor | None, scores: Tensor) -> list[int]:
        """Count the rows of each feature map among the A, for recipes that take the best of each map."""


class DenseGraph(nn.Module):
    """Pixels (B, H, W, 3) in 0..255, at the size of the network's input -> scores and boxes at all anchors.

    The first ``valid_size`` (B, 2) rows and columns of inputs of any size are the picture; None: all is, of one size.
    """

    def __init__(self, detector: DenseDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> Raw:
        """Compute scores and boxes of all anchors from pixels (B, H, W, 3)."""
        detector = self.detector
        x = detector.normalize(images.permute(0, 3, 1, 2), valid_size)
        outputs = detector(x.to(next(detector.net.parameters()).dtype))
        boxes = detector.coder.decode(anchors_in_graph(detector, images, valid_size).boxes, outputs.deltas.float())
        return Raw(detector.scores(outputs), boxes)

    def maps(self, images: Tensor, valid_size: Tensor | None, scores: Tensor) -> list[int]:
        """Count the anchors of each map."""
        return [level.count for level in anchors_in_graph(self.detector, images, valid_size).levels]


def anchors_in_graph(detector: Detector, images: Tensor, valid_size: Tensor | None) -> Anchors:
    """Return the anchors of an input (B, H, W, 3), computed in the graph where its size may vary."""
    return detector.anchors if valid_size is None else make_anchors(detector.spec, (images.shape[1], images.shape[2]))


class Selection(nn.Module):
    """Scores (B, A, K) and boxes (B, A, 4) -> what the recipe's NMS and vote leave, padded to M.

    Boxes (B, M, 4), scores (B, M) falling, labels (B, M) and how many there are (B,); padding is 0, with label -1.
    """

    min_scores: Tensor
    labels: Tensor

    def __init__(self, recipe: Recipe, min_scores: Sequence[float], shortest: float, suppress: Suppress) -> None:
        """Select boxes above their class's score in ``min_scores`` whose sides are at least ``shortest``."""
        super().__init__()
        self.recipe, self.shortest, self.suppress = recipe, shortest, suppress
        self.register_buffer("min_scores", torch.tensor(min_scores), persistent=False)
        self.register_buffer("labels", torch.arange(len(min_scores)), persistent=False)
        self.lowest = min(min_scores)

    def forward(
        self, scores: Tensor, boxes: Tensor, maps: Sequence[int], valid_size: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Select detections; ``maps`` counts the rows of each feature map, and boxes are clipped to ``valid_size``."""
        recipe = self.recipe
        best, row, labels = candidate_pairs(scores, recipe, maps)  # (B, n)
        boxes = clip(boxes_of(boxes, row, labels), recipe.image_size, valid_size)
        if self.shortest:
            best = torch.where(at_least(boxes, self.shortest), best, 0)
        votes = torch.where(best > min_vote_score(self.lowest, recipe), best, 0)
        best = torch.where(best > self.lowest, best, 0)
        kept = self.suppress(boxes, self._columns(best, labels), recipe.nms_threshold)
        found, place = torch.where(kept, best, 0).topk(torch.sym_min(recipe.max_detections, best.shape[1]))
        own, voted = labels.gather(1, place), rows_of(boxes, place)
        if recipe.vote:
            voted = vote_boxes(voted, own, boxes, votes, labels, recipe.vote)
        return self._padded(found, own, voted)

    def _columns(self, best: Tensor, labels: Tensor) -> Tensor:
        """Spread candidates' scores over (B, K, n): each in the row of its class, whose boxes compete; else -1."""
        there = (best > 0).unsqueeze(1)
        if not self.recipe.nms_agnostic:
            there = there & (labels.unsqueeze(1) == self.labels.unsqueeze(-1))
        return torch.where(there, best.unsqueeze(1), -1)

    def _padded(self, scores: Tensor, labels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Move those above the score of their class to the front."""
        above = scores > self.min_scores[labels]
        scores, place = torch.where(above, scores, 0).topk(scores.shape[1])
        labels = torch.where(scores > 0, labels.gather(1, place), -1)
        boxes = torch.where((scores > 0).unsqueeze(-1), rows_of(boxes, place), 0)
        missing = self.recipe.max_detections - scores.shape[1]
        padded = F.pad(boxes, (0, 0, 0, missing)), F.pad(scores, (0, missing)), F.pad(labels, (0, missing), value=-1)
        return *padded, above.sum(1)


class WholeGraph(nn.Module):
    """Pixels (B, H, W, 3) -> what ``Selection`` leaves of what a raw graph says, and that."""

    def __init__(self, raw: RawGraph, selection: Selection) -> None:
        super().__init__()
        self.raw, self.selection = raw, selection

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute detections, scores and boxes from pixels (B, H, W, 3)."""
        raw = self.raw(images, valid_size)
        scores, boxes = raw[:2]
        return *self.selection(scores, boxes, self.raw.maps(images, valid_size, scores), valid_size), *raw


def clip(boxes: Tensor, side: int, valid_size: Tensor | None) -> Tensor:
    """Boxes (B, n, 4), cut to what is ``valid_size`` (B, 2), or to the square of a ``side``."""
    return clip_boxes(boxes, (side, side)) if valid_size is None else clip_boxes_of_images(boxes, valid_size)


def rows_of(values: Tensor, places: Tensor) -> Tensor:
    """Rows (B, n, 4) of values (B, A, 4)."""
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def boxes_of(boxes: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """Boxes (B, n, 4) of pairs of a row and a class, out of (B, A, 4), or (B, A, K, 4) where classes have their own."""
    if boxes.ndim == 3:
        return rows_of(boxes, rows)
    return rows_of(boxes.flatten(1, 2), rows * boxes.shape[2] + labels)
