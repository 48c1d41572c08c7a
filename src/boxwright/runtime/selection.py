"""From scores and boxes of all anchors to detections, with numpy: what ``boxwright.models.selection`` does with torch.

Shape shorthand: A anchors, K classes, n candidates or detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from boxwright.runtime.nms import Floats, Ints, NmsKind, suppress, vote_boxes

EVALUATION_SCORE = 0.001
"""Boxes from it up vote, as in training's evaluation."""


class Detections(NamedTuple):
    """Detections of one image, sorted by falling score."""

    boxes: Floats
    """(n, 4) float32 xyxy, pixels of the image that was given."""
    scores: Floats
    """(n,) float32 in 0..1."""
    labels: Ints
    """(n,) int64 in 0..K-1."""

    def above(self, min_scores: Sequence[float]) -> Detections:
        """Keep those above the score (K,) of their class."""
        kept = self.scores > np.array(min_scores, np.float32)[self.labels]
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept])


@dataclass(frozen=True)
class SelectionRule:
    """Which candidates become detections: a recipe's keys of these names."""

    nms: NmsKind
    nms_threshold: float
    nms_agnostic: bool
    candidates: int
    candidates_per: Literal["image", "class", "map"]
    max_detections: int
    vote: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read the rule from a recipe, or from a model file's metadata."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def select(
        self,
        scores: Floats,
        boxes: Floats,
        size: tuple[int, int],
        min_score: float,
        maps: Sequence[int],
        shortest: float = 0.0,
    ) -> Detections:
        """Select the detections above ``min_score`` of scores (A, K) and boxes (A, 4), or (A, K, 4) by class.

        They are cut to ``size`` (H, W). ``maps``: the anchors of each feature map. ``shortest``: pixels a side that a
        box has at least.
        """
        best, row, label = self._candidates(scores, min(min_score, EVALUATION_SCORE) if self.vote else min_score, maps)
        boxes = clip_boxes(boxes[row] if boxes.ndim == 2 else boxes[row, label], size)
        sound = (boxes[:, 2:] - boxes[:, :2] >= shortest).all(1)  # no NaN is
        boxes, best, label = boxes[sound], best[sound], label[sound]
        above = np.flatnonzero(best > np.float32(min_score))
        keep, left = suppress(
            boxes[above],
            best[above],
            label[above],
            self.nms_threshold,
            self.nms,
            min_score=min_score,
            agnostic=self.nms_agnostic,
            most=self.max_detections,
        )
        keep = above[keep]
        found = boxes[keep]
        if self.vote:
            found = vote_boxes(found, label[keep], boxes, best, label, self.vote)
        return Detections(found, left, label[keep])

    def _candidates(self, scores: Floats, min_score: float, maps: Sequence[int]) -> tuple[Floats, Ints, Ints]:
        """Scores, rows and labels (n,) of the best pairs of a row and a class above ``min_score``, by falling score."""
        flat, classes = scores.ravel(), scores.shape[1]
        places = np.flatnonzero(flat > np.float32(min_score))
        if self.candidates_per == "image" and len(places) > self.candidates:  # the rest needn't be sorted
            least = np.partition(flat[places], -self.candidates)[-self.candidates]
            places = places[flat[places] >= least]
        places = places[np.argsort(-flat[places], kind="stable")]
        if self.candidates_per == "class":
            group = places % classes
        elif self.candidates_per == "map":
            group = np.searchsorted(np.cumsum(maps), places // classes, side="right")
        else:
            group = np.zeros_like(places)
        places = places[_rank_in(group) < self.candidates]
        return flat[places], places // classes, places % classes


def _rank_in(group: Ints) -> Ints:
    """Count, for each of n, those of the same group before it."""
    order = np.argsort(group, kind="stable")
    own = group[order]
    first = np.searchsorted(own, own)
    rank = np.empty_like(group)
    rank[order] = np.arange(len(group)) - first
    return rank


def clip_boxes(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Cut boxes (..., 4) to an image of ``size`` (H, W)."""
    clipped: NDArray[Any] = np.clip(boxes, 0, np.array([*reversed(size)] * 2, boxes.dtype))
    return clipped
