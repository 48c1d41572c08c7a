"""COCO's average precision and recall from a match table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.matches import MatchTable

RECALLS: Floats = np.linspace(0.0, 1.0, 101)


class CocoScores(NamedTuple):
    """Scores by class; NaN where a class has no counted target in the range."""

    precision: Floats
    """(K, T, A) precision averaged over the recalls 0, .01, ... 1."""
    recall: Floats
    """(K, T, A, D) recall with the best 1, 10 and 100 (D numbers) detections of each image and class."""


def coco_scores(matches: MatchTable, max_detections: tuple[int, ...]) -> CocoScores:
    """Compute average precision (at the largest of `max_detections`) and recall by class, threshold and area range."""
    num_classes, num_areas = matches.positives.shape
    shape = (num_classes, len(matches.iou_thresholds), num_areas)
    precision, recall = np.full(shape, np.nan), np.full((*shape, len(max_detections)), np.nan)
    for label in np.flatnonzero(matches.positives.any(axis=1)).tolist():
        rows = matches.rows(label)
        rank = matches.rank[rows]
        within = rank < max(max_detections)
        hits, ignored = matches.true_positive[rows][within], matches.ignored[rows][within]
        positives = matches.positives[label]
        defined = positives > 0
        precision[label] = np.where(defined, average_precision(hits, ignored, positives), np.nan)
        for place, count in enumerate(max_detections):
            found = hits[rank[within] < count].sum(axis=0)
            recall[label, ..., place] = np.where(defined, found / np.maximum(positives, 1), np.nan)
    return CocoScores(precision, recall)


def average_precision(hits: Bools, ignored: Bools, positives: Ints) -> Floats:
    """Average, over 101 recalls, the highest precision at that recall or beyond: (T, A).

    Precision rises only at true positives, so the rows that are one at some threshold and range determine the curve.
    """
    kept = np.flatnonzero(hits.any(axis=(1, 2)))
    found = _curves(np.cumsum(hits[kept], axis=0, dtype=np.int32))  # (T * A, rows)
    counted = _curves(np.cumsum(~ignored, axis=0, dtype=np.int32)[kept])
    average = interpolated_average(found, counted, np.tile(positives, hits.shape[1]))
    return average.reshape(hits.shape[1:])


def interpolated_average(found: NDArray[np.int32], counted: NDArray[np.int32], positives: Ints) -> Floats:
    """Average, over the recalls 0, .01, ... 1, the highest precision at that recall or beyond, of C curves: (C,).

    Args:
        found: (C, rows) true positives down to each row, by falling score.
        counted: (C, rows) detections down to each row that are not ignored.
        positives: (C,) counted targets.
    """
    precision = found / (counted + np.spacing(1.0))
    best_beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]

    num_curves, num_rows = found.shape
    most = int(found.max(initial=0)) + 1  # more than there are, so never reached
    needed = np.minimum(_needed(positives), most)  # (C, 101)
    # One search over all curves: each is shifted above the one before it.
    base = np.arange(num_curves)[:, None] * (most + 1)
    place = np.searchsorted((found + base).reshape(-1), needed + base) - np.arange(num_curves)[:, None] * num_rows
    padded = np.pad(best_beyond, ((0, 0), (0, 1)))  # precision 0 at a recall that is not reached
    average: Floats = np.take_along_axis(padded, place, axis=1).mean(axis=1)
    return average


def _curves(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.ascontiguousarray(counts.reshape(len(counts), np.prod(counts.shape[1:], dtype=int)).T)


def _needed(positives: Ints) -> Ints:
    """Compute the number of true positives (C, 101) from which recall, in float64, reaches each of the 101 values."""
    total = np.maximum(positives, 1)[:, None].astype(np.float64)
    needed = np.ceil(RECALLS * total)
    needed -= (needed - 1) / total >= RECALLS  # the product may have been rounded up or down
    needed += needed / total < RECALLS
    return needed.astype(np.int64)
