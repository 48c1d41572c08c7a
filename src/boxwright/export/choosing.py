"""Detections out of what a model file gives, as the detector chooses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from boxwright.boxes import clip_boxes
from boxwright.export.graph import Raw
from boxwright.models.detector import Detector
from boxwright.models.faster_rcnn import SHORTEST_DETECTION, TwoStageDetector, at_least
from boxwright.models.selection import best_pairs, nms_and_topk
from boxwright.types import Detections


def rows_of_maps(detector: Detector, size: tuple[int, int]) -> list[int]:
    """Count the rows of raw scores per feature map for an input of size (H, W); regions count as one map."""
    maps = [level.count for level in detector.anchors_of(size).levels]
    if not isinstance(detector, TwoStageDetector):
        return maps
    return [min(sum(maps), detector.recipe.proposals)]


def shortest_side(detector: Detector) -> float:
    """Return the side, in pixels of the input, that a box must have to be a detection."""
    return SHORTEST_DETECTION if isinstance(detector, TwoStageDetector) else 0.0


def chosen_from(
    detector: Detector, raw: Raw, valid_size: tuple[int, int], size: tuple[int, int], score: float
) -> Detections:
    """Select the detections above a score on one input of ``size`` (H, W), of which ``valid_size`` is not padding."""
    best, row, labels = best_pairs(raw.scores, score, detector.recipe, rows_of_maps(detector, size))
    boxes = clip_boxes(raw.boxes[row] if raw.boxes.ndim == 2 else raw.boxes[row, labels], valid_size)
    kept = at_least(boxes, shortest_side(detector))
    return nms_and_topk(boxes[kept], best[kept], labels[kept], valid_size, score, detector.recipe)


def detections_in(found: Mapping[str, NDArray[Any]], row: int) -> Detections:
    """Extract one picture's detections from a file's outputs, without the padding."""
    count = int(found["count"][row])
    return Detections(*(torch.from_numpy(found[name][row, :count]) for name in ("boxes", "scores", "labels")))
