"""Average precision of images drawn again and again, from one match table.

An image that is drawn twice counts twice, with its detections and its targets, and one that isn't drawn not at all.
Detections choose their targets image by image, so that what was matched stays matched whatever is drawn: every draw is
a weighting of the table's rows. Source: Efron 1979, "Bootstrap methods: another look at the jackknife".

Shape shorthand: R draws, n images, K classes, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate import MatchTable
from boxwright.evaluate.coco import interpolated_average
from boxwright.evaluate.columns import Floats, Ints

Metric = Literal["AP", "AP50", "AP75"]

_IOU: dict[str, float | None] = {"AP": None, "AP50": 0.5, "AP75": 0.75}  # None: the mean over all thresholds
_CELLS_AT_ONCE = 4_000_000  # draws x rows: bounds the memory


def draw_images(images: int, draws: int, *, seed: int = 0) -> Ints:
    """(R, n) how often each image is drawn, n of n with replacement."""
    random = np.random.default_rng(seed)
    return random.multinomial(images, np.full(images, 1 / images), size=draws)


def bootstrap_scores(table: MatchTable, draws: Ints, metric: Metric = "AP") -> Floats:
    """(R,) the score that the evaluation of the drawn images would give; NaN where none of them has a target.

    Score ties between images are the one exception: their order in the drawn set isn't the table's.

    Args:
        draws: (R, n) how often each image was drawn.

    Raises:
        ValueError: draws of another shape, or a metric that the table doesn't have.
    """
    thresholds = _thresholds(table, metric)
    if draws.ndim != 2 or draws.shape[1] != len(table.targets.image_rank):
        raise ValueError(f"Expected draws of shape (R, {len(table.targets.image_rank)}) but got {draws.shape}")
    weights = draws.astype(np.int32)
    found = np.flatnonzero(table.positives[:, 0]).tolist()
    per_class = [_class_scores(table, weights, label, thresholds) for label in found]
    scores = np.array(per_class).reshape(len(found), len(draws))
    defined = ~np.isnan(scores)
    total = np.where(defined, scores, 0.0).sum(axis=0)
    return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)


def _thresholds(table: MatchTable, metric: Metric) -> list[int]:
    """Places of the IoU thresholds that the metric is the mean over."""
    if metric not in _IOU:
        raise ValueError(f"Expected one of {', '.join(_IOU)} but got {metric!r}")
    iou = _IOU[metric]
    if iou is None:
        return list(range(len(table.iou_thresholds)))
    return [table.threshold(iou)]


def _class_scores(table: MatchTable, weights: NDArray[np.int32], label: int, thresholds: list[int]) -> Floats:
    """(R,) mean over the thresholds of a class's average precision; NaN where no counted target was drawn."""
    counted = table.counted[:, 0] & (table.targets.label == label)
    of_image = np.bincount(table.targets.image[counted], minlength=weights.shape[1])
    positives = weights @ of_image
    scores = np.zeros(len(weights))
    for part in _parts(len(weights), table.rows(label)):
        scores[part] = _mean_precision(table, weights[part], positives[part], label, thresholds)
    return np.where(positives > 0, scores, np.nan)


def _mean_precision(
    table: MatchTable, weights: NDArray[np.int32], positives: Ints, label: int, thresholds: list[int]
) -> Floats:
    rows = np.arange(table.class_rows[label], table.class_rows[label + 1])
    rows = rows[table.rank[rows] < table.max_detections]
    drawn = weights[:, table.image[rows]]  # (R, rows)
    hits = table.true_positive[rows][:, thresholds, 0]
    kinds, kind = np.unique(table.ignored[rows][:, thresholds, 0], axis=1, return_inverse=True)
    total = np.zeros(len(weights))
    for place, ignored in enumerate(kinds.T):  # mostly one: the same rows are ignored at every threshold
        counted = np.cumsum(drawn * ~ignored, axis=1, dtype=np.int32)
        for hit in hits.T[kind.reshape(-1) == place]:
            found = np.cumsum(drawn[:, hit], axis=1, dtype=np.int32)
            total += interpolated_average(found, counted[:, hit], positives)
    return total / len(thresholds)


def _parts(draws: int, rows: slice) -> Iterator[slice]:
    """Draws in runs of at most `_CELLS_AT_ONCE` cells."""
    step = max(1, _CELLS_AT_ONCE // max(1, rows.stop - rows.start))
    for start in range(0, draws, step):
        yield slice(start, start + step)
