"""Intervals of average precision: how much it would change on other images of the same kind.

An interval is a t interval on the logit scale, which keeps it in 0..1. Its standard error is the bootstrap's over the
images, widened in two ways, without which a few images look too certain. The variance is n / (n - 1) times that of the
draws. And a class with targets in m images gets the noise of one more image, p (1 - p) / m^2: five perfect images do
not prove that a sixth will be perfect too. Of the intervals that benchmarks/interval_coverage.py compares, only this
one reaches its nominal coverage from 50 images on in all simulated settings. Source: Efron & Tibshirani 1993, "An
introduction to the bootstrap", chapters 12 and 13.

Shape shorthand: R draws, n images, K classes, T IoU thresholds.
"""

from __future__ import annotations

from math import exp, expm1, isnan, log, log1p, nan, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from boxwright.evaluate.bootstrap import (
    METRIC_IOU,
    bootstrap_precision,
    draw_images,
    mean_of_defined,
    metric_thresholds,
)
from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.matches import MatchTable

LEVEL = 0.95
RESAMPLES = 1000
RELIABLE_IMAGES = 50
"""From this many images on, intervals of AP covered the truth in at least 93 % of trials in every simulated setting."""


class Interval(NamedTuple):
    """Both ends; NaN if the score is undefined, or only one image has objects."""

    low: float
    high: float

    @property
    def reach(self) -> float:
        """Half the width."""
        return (self.high - self.low) / 2


class ScoreIntervals(NamedTuple):
    """The intervals of one metric."""

    overall: Interval
    """Interval of the mean over the classes."""
    by_class: list[Interval]
    """(K,)"""


def score_intervals(
    table: MatchTable, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, ScoreIntervals]:
    """Compute intervals of AP, and of AP50 and AP75 if the table has those IoUs, over all classes and for each class.

    Args:
        table: Matches of the split.
        level: How often an interval should contain the score of the world that the images come from.
        resamples: Number of draws of the images.
        seed: The same seed gives the same intervals.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}] * 4
        >>> found = [{"boxes": [[0, 0, 10, 5 + n]], "scores": [0.9], "labels": [0]} for n in range(4)]
        >>> metrics = bw.evaluate.detection_metrics(found, truth, ["cat"])
        >>> interval = bw.evaluate.score_intervals(metrics.matches, resamples=100)["AP"].overall
        >>> interval.low < metrics.AP < interval.high
        True
    """
    images = len(table.targets.image_rank)
    each_once = np.ones((1, images), np.int64)
    precision = bootstrap_precision(table, np.vstack([each_once, draw_images(images, resamples, seed=seed)]))
    found = {}
    for metric, iou in METRIC_IOU.items():
        if iou is None or table.has_threshold(iou):
            by_class = precision[..., metric_thresholds(table, metric)].mean(axis=2)
            found[metric] = intervals_of_scores(by_class, images_of_classes(table), images_with_targets(table), level)
    return found


def images_with_targets(table: MatchTable, within: Bools | None = None) -> int:
    """Count the images with a counted target, of all or of those ``within`` (n,)."""
    return len(np.unique(table.targets.image[_counted(table, within)]))


def images_of_classes(table: MatchTable, within: Bools | None = None) -> Ints:
    """Count the images with a counted target of each class (K,), of all or of those ``within`` (n,)."""
    counted = _counted(table, within)
    pairs = np.unique(np.stack([table.targets.label[counted], table.targets.image[counted]]), axis=1)
    return np.bincount(pairs[0], minlength=len(table.positives))


def _counted(table: MatchTable, within: Bools | None) -> Bools:
    counted: Bools = table.counted[:, 0]
    return counted if within is None else counted & within[table.targets.image]


def unit_interval(score: float, error: float, images: int, held: int, level: float = LEVEL) -> Interval:
    """Compute the t interval, on the logit scale, of a score in 0..1 with this standard error.

    Args:
        score: The score.
        error: Its standard error.
        images: Number of images that the error comes from.
        held: Number of images that determine the score: half an image more keeps it away from 0 and 1, which have no
            logit.
        level: Coverage.
    """
    if images < 2 or not held or not np.isfinite([score, error]).all():
        return Interval(nan, nan)
    edge = 0.5 / (held + 1)
    center = min(max(score, edge), 1 - edge)
    reach = t_quantile((1 + level) / 2, images - 1) * error / (center * (1 - center))
    low, high = (
        1 / (1 + exp(-min(max(end, -500.0), 500.0))) for end in (_logit(center) - reach, _logit(center) + reach)
    )
    return Interval(min(low, score), max(high, score))


def ends(interval: Interval) -> list[float | None]:
    """Return both ends for JSON, None where they are unknown."""
    return [None if isnan(end) else end for end in interval]


def t_quantile(probability: float, freedom: float) -> float:
    """Compute a quantile of Student's t above 1/2 from the normal's.

    It is within 1 % from 5 degrees of freedom on, too wide below.

    Source: Wallace 1959, "Bounds on normal approximations to Student's and the chi-square distributions".
    """
    z = NormalDist().inv_cdf(probability) * (8 * freedom + 3) / (8 * freedom + 1)
    return sqrt(freedom * expm1(z**2 / freedom))


def t_chance(ratio: float, freedom: float) -> float:
    """Compute how often Student's t is at least as far from 0, on either side; the inverse of ``t_quantile``."""
    z = sqrt(freedom * log1p(ratio**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return 2 * NormalDist().cdf(-z)


def variance_of_defined(values: Floats) -> float:
    """Compute the variance of the values that are not NaN; 0 if there are none."""
    finite = values[~np.isnan(values)]
    return float(finite.var()) if len(finite) else 0.0


def intervals_of_scores(scores: Floats, class_images: Ints, images: int, level: float) -> ScoreIntervals:
    """Compute intervals from scores (1 + R, K): of the original images, then of the draws.

    Args:
        scores: (1 + R, K).
        class_images: (K,) images with targets of each class.
        images: Images with any target.
        level: Coverage.
    """
    defined = np.flatnonzero(class_images)
    drawn = np.array([variance_of_defined(scores[1:, label]) for label in range(scores.shape[1])])
    holding = np.maximum(class_images, 1)
    center = (holding * np.nan_to_num(scores[0]) + 0.5) / (holding + 1)
    widened = drawn * holding / np.maximum(holding - 1, 1) + center * (1 - center) / holding**2
    by_class = [
        unit_interval(score, sqrt(variance), images, held, level)
        for score, variance, held in zip(scores[0].tolist(), widened.tolist(), class_images.tolist(), strict=True)
    ]
    if not len(defined):
        return ScoreIntervals(Interval(nan, nan), by_class)
    mean = mean_of_defined(scores)
    unbiased = images / max(images - 1, 1)
    variance = (
        variance_of_defined(mean[1:]) * unbiased + (widened - drawn * unbiased)[defined].sum() / len(defined) ** 2
    )
    return ScoreIntervals(unit_interval(float(mean[0]), sqrt(variance), images, images, level), by_class)


def _logit(share: float) -> float:
    return log(share / (1 - share))
