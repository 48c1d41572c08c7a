"""Differences between arms, with their noise: other seeds would give other scores, and so would other images.

The design is the one of reader studies in radiology, seeds in the place of readers and images in the place of cases:
every arm is trained with every seed, and all are scored on the same images. With y the score of arm a and seed s,

    y[a, s] = arm[a] + seed[s] + image noise[a] + residual[a, s],

a difference to the baseline has the variance 2 v / S + c: v is the residual's (arm by seed, two-way analysis of
variance), S the number of seeds, and c what image noise leaves in the difference: the covariance, over bootstrap draws
of the images, of differences of different seeds. The part that seeds don't share is in v already and isn't counted
twice. Source: Obuchowski & Rockette 1995, "Hypothesis testing of diagnostic accuracy for multiple readers and
multiple tests".

Resampling a few seeds would understate their noise (three seeds: by a third of the variance, and with tails that are
too light), so that v comes with its degrees of freedom instead: the errors that a comparison could have made are drawn
from the fiducial distribution of variances and means (Weerahandi 1993, "Generalized confidence intervals"), as in the
Behrens-Fisher problem. The interval of each arm is as many standard errors wide as the worst arm's error is at the
level asked for (Dunnett 1955, "A multiple comparison procedure for comparing several treatments with a control";
Hothorn, Bretz & Westfall 2008): all intervals hold together, and an arm is better or worse where its own leaves out 0.

v is pooled over the arms, for two or three seeds tell next to nothing of one arm's; an arm that is noisier than that is
given its own. The level is kept where arms are about as noisy as the baseline.

Shape shorthand: A arms beside the baseline, S seeds, R bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from boxwright.evaluate import MatchTable
from boxwright.evaluate.bootstrap import Metric, bootstrap_scores, draw_images
from boxwright.evaluate.columns import Floats
from boxwright.evaluate.paired import Verdict

ONE_SEED = "One seed: the noise between seeds isn't known, so no difference can be distinguished from it."
SIMULATIONS = 20_000


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm's score minus the baseline's, mean over the seeds."""

    mean: float
    low: float
    """Lower end of the simultaneous interval; NaN with one seed."""
    high: float
    level: float
    """Probability that the intervals of all arms hold together."""
    p: float
    """Adjusted for the number of arms: how often the worst of all arms would err by as much; NaN with one seed."""
    verdict: Verdict
    seed_error: float
    """Standard error of the mean from training, sqrt(2 v / S); NaN with one seed."""
    image_error: float
    """Standard error of the mean from the images, sqrt(c)."""
    seeds: int
    note: str = ""


def compare_arms(
    baseline: Sequence[MatchTable],
    arms: Mapping[str, Sequence[MatchTable]],
    *,
    metric: Metric = "AP",
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare each arm with the baseline.

    Args:
        baseline: (S,) match tables, one per seed.
        arms: Name -> (S,) tables on the same images; the i-th has the seed of the baseline's i-th.
        metric: "AP", "AP50" or "AP75".
        level: Probability that all intervals together contain their true differences.
        draws: Draws of images in the bootstrap.
        seed: Seed of the draws.

    Raises:
        ValueError: If there is no seed, arms have another number of seeds or images, or a score is undefined.
    """
    tables = [baseline, *arms.values()]
    if not baseline or any(len(runs) != len(baseline) for runs in tables):
        raise ValueError(f"Expected as many seeds in each arm, one or more, but got {[len(runs) for runs in tables]}")
    sizes = {len(table.targets.image_rank) for runs in tables for table in runs}
    if len(sizes) != 1:
        raise ValueError(f"Expected tables of the same images but got some of {sorted(sizes)} images")
    images = sizes.pop()
    counts = np.vstack([np.ones((1, images), np.int64), draw_images(images, draws, seed=seed)])
    scores = np.array([[bootstrap_scores(table, counts, metric) for table in runs] for runs in tables])
    found = compare_scores(scores[..., 0], scores[..., 1:], images, level=level, seed=seed)
    return dict(zip(arms, found, strict=True))


def compare_scores(
    scores: Floats, drawn: Floats, images: int, *, level: float = 0.95, seed: int = 0
) -> list[Difference]:
    """Compare each arm with the baseline by scores alone.

    Args:
        scores: (A + 1, S), the baseline's first.
        drawn: (A + 1, S, R) the same on drawn images, the same draws for all; draws with a NaN are left out.
        images: Number of images.
        level: As in ``compare_arms``.
        seed: As in ``compare_arms``.

    Raises:
        ValueError: If a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("Expected finite scores but got some that aren't defined")
    seeds = scores.shape[1]
    mean = (scores[1:] - scores[:1]).mean(axis=1)
    image = _image_covariance(drawn, images)
    image_error = np.sqrt(np.diag(image))
    if seeds == 1:
        unknown: Verdict = "no detectable difference"
        return [
            Difference(float(at), nan, nan, level, nan, unknown, nan, float(error), 1, ONE_SEED)
            for at, error in zip(mean, image_error, strict=True)
        ]
    pooled, own = seed_variances(scores)
    reference = worst_errors(float(pooled), seeds, image, images, seed)
    seed_error = np.sqrt(2 / seeds * np.maximum(pooled, own))
    error = np.hypot(seed_error, image_error)
    reach = np.quantile(reference, level) * error
    p = (reference >= _ratio(np.abs(mean), error)[:, None]).mean(axis=1)
    columns = np.column_stack([mean, mean - reach, mean + reach, p, seed_error, image_error])
    return [
        Difference(at, low, high, level, chance, _verdict(low, high), by_seed, by_image, seeds)
        for at, low, high, chance, by_seed, by_image in columns.tolist()
    ]


def seed_variances(scores: Floats) -> tuple[Floats, Floats]:
    """Estimate the residual's variance of (..., A + 1, S) scores: pooled (...,), and each arm's own (..., A)."""
    arms, seeds = scores.shape[-2:]
    centered = scores - scores.mean(axis=-1, keepdims=True)
    residual = centered - centered.mean(axis=-2, keepdims=True)
    pooled = (residual**2).sum(axis=(-2, -1)) / ((arms - 1) * (seeds - 1))
    own = (scores[..., 1:, :] - scores[..., :1, :]).var(axis=-1, ddof=1) / 2
    return pooled, own


def _image_covariance(drawn: Floats, images: int) -> Floats:
    """Estimate the (A, A) covariance, between arms, of the image noise in mean differences that seeds share."""
    drawn = drawn[..., np.isfinite(drawn).all(axis=(0, 1))]
    seeds, draws = drawn.shape[1:]
    if draws < 2 or images < 2:
        raise ValueError(f"Expected at least 2 images and draws with targets but got {images} and {draws}")
    away = drawn[1:] - drawn[:1]
    away = away - away.mean(axis=-1, keepdims=True)
    of_mean = np.einsum("ar,br->ab", away.mean(axis=1), away.mean(axis=1))
    if seeds > 1:
        same_seed = np.einsum("asr,bsr->ab", away, away) / seeds**2
        of_mean = (of_mean - same_seed) * seeds / (seeds - 1)
    values, vectors = np.linalg.eigh(of_mean / (draws - 1) * images / (images - 1))
    covariance: Floats = (vectors * np.maximum(values, 0.0)) @ vectors.T  # an estimate may be negative
    return covariance


def worst_errors(pooled: float, seeds: int, image: Floats, images: int, seed: int) -> Floats:
    """Draw (simulations,) errors that a comparison could have made, in standard errors: the worst arm's in each."""
    random = np.random.default_rng(seed)
    arms = len(image)
    freedom = arms * (seeds - 1)
    runs = random.standard_normal((SIMULATIONS, arms + 1)) * sqrt(pooled / seeds)
    runs *= np.sqrt(freedom / random.chisquare(freedom, (SIMULATIONS, 1)))
    values, vectors = np.linalg.eigh(image)
    of_images = random.standard_normal((SIMULATIONS, arms)) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    of_images *= np.sqrt((images - 1) / random.chisquare(images - 1, (SIMULATIONS, 1)))
    error = np.sqrt(2 * pooled / seeds + np.diag(image))
    worst: Floats = _ratio(np.abs(runs[:, 1:] - runs[:, :1] + of_images), error).max(axis=1)
    return worst


def _ratio(values: Floats, errors: Floats) -> Floats:
    """Divide values by errors: 0 where both are 0, infinite where the error alone is."""
    return np.divide(values, errors, out=np.where(values > 0, np.inf, 0.0), where=errors > 0)


def _verdict(low: float, high: float) -> Verdict:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no detectable difference"
