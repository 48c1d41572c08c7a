"""How far scores can be read as probabilities: the reliability diagram and the expected calibration error.

A detection is right if it took a counted target at IoU 0.5; ignored ones are left out. Detections are sorted into bins
of equal width by score; in each bin the mean score is compared with the share that is right. The expected calibration
error is the mean distance of the two, weighted by the number of detections. Source: Guo et al. 2017, "On calibration of
modern neural networks", equations 2, 3 and 5; for detections Kuppers et al. 2020, "Multivariate confidence calibration
for object detection".

Shape shorthand: R draws, n images, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np

from boxwright.evaluate.bootstrap import draw_images
from boxwright.evaluate.columns import Floats, Ints
from boxwright.evaluate.intervals import LEVEL, RESAMPLES, Interval, ends, t_quantile, variance_of_defined
from boxwright.evaluate.matches import MatchTable

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Scores compared with how often they are right."""

    score: Floats
    """(B,) mean score of each bin; NaN where it is empty."""
    precision: Floats
    """(B,) share of its detections that is right."""
    count: Ints
    """(B,)"""
    ece: float
    """Expected calibration error; NaN without detections."""
    interval: Interval
    """Interval of the error, over images."""
    min_score: float
    """Detections below this score were left out."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, None for undefined ones."""
        columns = {name: getattr(self, name).tolist() for name in ("score", "precision")}
        plain = {name: [None if value != value else value for value in values] for name, values in columns.items()}
        ece = None if np.isnan(self.ece) else self.ece
        bins = {**plain, "count": self.count.tolist(), "min_score": self.min_score}
        return {"ece": ece, "interval": ends(self.interval), "bins": bins}


def reliability(
    table: MatchTable, *, min_score: float = 0.05, iou: float = 0.5, resamples: int = RESAMPLES, seed: int = 0
) -> Reliability:
    """Compare the scores of detections with the share of them that is right.

    Args:
        table: Matches of the split.
        min_score: Detections below this score are left out: the many near 0 would hide the others.
        iou: Overlap from which a detection is right.
        resamples: Number of draws of the images for the interval.
        seed: Seed of the draws.

    Raises:
        ValueError: If the IoU is not one of the table's thresholds.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}] * 2
        >>> found = [{"boxes": [[0, 0, 10, 9], [40, 0, 50, 9]], "scores": [0.75, 0.75], "labels": [0, 0]}] * 2
        >>> table = bw.evaluate.detection_metrics(found, truth, ["cat"]).matches
        >>> round(bw.evaluate.reliability(table).ece, 2)  # half of them are right, the scores say three quarters
        0.25
    """
    right = table.right(iou, min_score)
    rows = np.flatnonzero(right | table.wrong(iou, min_score))
    images = len(table.targets.image_rank)
    place = np.clip((table.score[rows] * BINS).astype(np.int64), 0, BINS - 1)
    cell = place * images + table.image[rows]

    def by_image(weights: Floats) -> Floats:
        """Sum over the detections of each bin and image, (B, n)."""
        return np.bincount(cell, weights, minlength=BINS * images).reshape(BINS, images).astype(np.float64)

    number, score, hits = (
        by_image(np.ones(len(rows))),
        by_image(table.score[rows]),
        by_image(right[rows].astype(np.float64)),
    )
    whole = _errors(np.ones((1, images)), number, score, hits)
    drawn = _errors(draw_images(images, resamples, seed=seed).astype(np.float64), number, score, hits)
    holding = len(np.unique(table.image[rows]))
    error = sqrt(variance_of_defined(drawn) * holding / max(holding - 1, 1))
    count = number.sum(axis=1)
    some = count > 0
    means = [np.divide(sums.sum(axis=1), count, out=np.full(BINS, np.nan), where=some) for sums in (score, hits)]
    ece, interval = float(whole[0]), Interval(nan, nan)
    if holding > 1:
        reach = t_quantile((1 + LEVEL) / 2, holding - 1) * error
        interval = Interval(max(0.0, ece - reach), min(1.0, ece + reach))
    return Reliability(means[0], means[1], count.astype(np.int64), ece, interval, min_score)


def _errors(draws: Floats, number: Floats, score: Floats, hits: Floats) -> Floats:
    """Compute the expected calibration error (R,) of the drawn images, NaN where none has a detection."""
    total = draws @ number.sum(axis=0)
    distance = np.abs(draws @ (score - hits).T).sum(axis=1)
    errors: Floats = np.divide(distance, total, out=np.full(len(draws), np.nan), where=total > 0)
    return errors
