"""Average precision of resampled images, from one match table.

An image drawn twice counts twice, with its detections and its targets, and one not drawn does not count. Detections
choose their targets image by image, so the matches are the same in every draw: a draw is just a weighting of the
table's rows. Source: Efron 1979, "Bootstrap methods: another look at the jackknife".

Shape shorthand: R draws, n images, K classes, T IoU thresholds, N rows of a class, H of them on the curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate.coco import RECALLS
from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.matches import AREAS, MatchTable

Weights = NDArray[np.int32]
"""(n, R) how often each image was drawn in each draw."""
Metric = Literal["AP", "AP50", "AP75"]

METRIC_IOU: dict[str, float | None] = {"AP": None, "AP50": 0.5, "AP75": 0.75}
"""The IoU of a metric; None for the mean over all thresholds."""
_CELLS_AT_ONCE = 4_000_000  # draws x rows, which bounds the memory
_LATE = np.arange(101) / 100 < RECALLS  # recalls that k / 100 misses by its last bit


class Ranking(NamedTuple):
    """The detections of a class by falling score."""

    image: Ints
    """(N,)"""
    hits: Bools
    """(N, T) took a counted target."""
    ignored: Bools
    """(N, T) neither credited nor penalized."""


def draw_images(images: int, draws: int, *, seed: int = 0) -> Ints:
    """Draw n of n images with replacement, R times; returns how often each is drawn, (n, R)."""
    random = np.random.default_rng(seed)
    return random.multinomial(images, np.full(images, 1 / images), size=draws)


def bootstrap_scores(table: MatchTable, draws: Ints, metric: Metric = "AP") -> Floats:
    """Score the drawn images as their evaluation would: (R,), NaN where none of them has a target.

    The only exception are equal scores in different images: their order in a drawn set is that of the table.

    Args:
        table: Matches of the whole split.
        draws: (R, n) how often each image was drawn.
        metric: Name of the metric, such as "AP".

    Raises:
        ValueError: If the shape of ``draws`` is wrong, or the table does not have the metric.
    """
    places = metric_thresholds(table, metric)
    return mean_of_defined(bootstrap_precision(table, draws)[..., places].mean(axis=2))


def bootstrap_precision(table: MatchTable, draws: Ints, area: str = "all") -> Floats:
    """Compute average precision (R, K, T) of the drawn images; NaN where none has a counted target of the class.

    Args:
        table: Matches of the whole split.
        draws: (R, n) how often each image was drawn.
        area: One of `AREAS`.

    Raises:
        ValueError: If the shape of ``draws`` is wrong.
    """
    images = len(table.targets.image_rank)
    if draws.ndim != 2 or draws.shape[1] != images:
        raise ValueError(f"Expected draws of shape (R, {images}) but got {draws.shape}")
    weights = np.ascontiguousarray(draws.T, np.int32)
    seen: Bools = draws.max(axis=0, initial=0) > 0
    place = list(AREAS).index(area)
    scores = np.full((len(draws), len(table.positives), len(table.iou_thresholds)), np.nan)
    for label in np.flatnonzero(table.positives[:, place]).tolist():
        rows = np.arange(table.class_rows[label], table.class_rows[label + 1])
        rows = rows[(table.rank[rows] < table.max_detections) & seen[table.image[rows]]]
        ranking = Ranking(table.image[rows], table.true_positive[rows, :, place], table.ignored[rows, :, place])
        asked = table.targets.image[table.counted[:, place] & (table.targets.label == label)]
        scores[:, label] = drawn_precision(ranking, asked, weights)
    return scores


def drawn_precision(ranking: Ranking, asked: Ints, weights: Weights) -> Floats:
    """Compute average precision (R, T) of a class; NaN where no drawn image has a target to be found.

    Args:
        ranking: The class's detections.
        asked: (M,) image of each target to be found.
        weights: (n, R).
    """
    kept = ranking.hits.any(axis=1) | (ranking.ignored != ranking.ignored[:, :1]).any(axis=1)
    false = np.flatnonzero(~kept & ~ranking.ignored[:, 0])
    kept = np.flatnonzero(kept)
    positives = weights[asked].sum(axis=0)
    scores = np.zeros((weights.shape[1], ranking.hits.shape[1]))
    for part in _parts(weights.shape[1], len(kept)):
        drawn = np.ascontiguousarray(weights[:, part])
        passed = _sums_before(drawn, ranking.image[false], np.searchsorted(false, kept))
        scores[part] = _averages(ranking, kept, passed, drawn, np.maximum(positives[part], 1))
    scores[positives == 0] = np.nan
    return scores


def metric_thresholds(table: MatchTable, metric: str) -> list[int]:
    """Return the indices of the IoU thresholds that a metric averages over.

    Raises:
        ValueError: If the table does not have the metric.
    """
    if metric not in METRIC_IOU:
        raise ValueError(f"Expected one of {', '.join(METRIC_IOU)} but got {metric!r}")
    iou = METRIC_IOU[metric]
    return list(range(len(table.iou_thresholds))) if iou is None else [table.threshold(iou)]


def mean_of_defined(values: Floats, axis: int = 1) -> Floats:
    """Average the values that are not NaN over an axis; NaN where there are none."""
    defined = ~np.isnan(values)
    total, count = np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sums_before(weights: Weights, image: Ints, ends: Ints) -> Weights:
    """Count, (H, R), how often the false detections between a kept one and the one before it were drawn."""
    sums = np.zeros((len(ends), weights.shape[1]), np.int32)
    for place, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
        if end > start:
            np.add.reduce(weights[image[start:end]], axis=0, out=sums[place])
    return sums


def _averages(ranking: Ranking, kept: Ints, passed: Weights, weights: Weights, positives: Ints) -> Floats:
    """Compute the averages (R, T) from the kept rows and the number of false ones ``passed`` (H, R) before each."""
    drawn = weights[ranking.image[kept]]  # (H, R)
    kinds, kind = np.unique(ranking.ignored[kept], axis=1, return_inverse=True)
    scores = np.zeros((weights.shape[1], ranking.hits.shape[1]))
    for place, ignored in enumerate(kinds.T):  # mostly one: the same rows are ignored at every threshold
        counted = _accumulated(np.add, passed + drawn * ~ignored[:, None])
        for threshold in np.flatnonzero(kind.reshape(-1) == place).tolist():
            rows = np.flatnonzero(ranking.hits[kept, threshold])
            found = _accumulated(np.add, drawn[rows])
            scores[:, threshold] = _interpolated(found, counted[rows], positives)
    return scores


def _interpolated(found: Weights, counted: Weights, positives: Ints) -> Floats:
    """Average, over the recalls 0, .01, ... 1, the highest precision at that recall or beyond: (R,)."""
    best = _accumulated(np.maximum, (found / np.maximum(counted, 1))[::-1])[::-1]
    reached = 100.0 * found / positives  # an exact whole number where a recall is met exactly
    recalls = reached.astype(np.int32)
    recalls += 1 - ((recalls == reached) & _LATE[recalls])
    average: Floats = np.einsum("hr,hr->r", best, np.diff(recalls, axis=0, prepend=0)) / len(RECALLS)
    return average


def _accumulated(ufunc: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
    """Accumulate along the first axis in place, row by row, which takes a third of the time of numpy's own."""
    for before, row in pairwise(values):
        ufunc(before, row, out=row)
    return values


def _parts(draws: int, rows: int) -> Iterator[slice]:
    """Split the draws into runs of at most `_CELLS_AT_ONCE` cells."""
    step = max(1, _CELLS_AT_ONCE // max(1, rows))
    for start in range(0, draws, step):
        yield slice(start, start + step)
