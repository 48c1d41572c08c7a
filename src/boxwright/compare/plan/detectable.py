"""Which true difference a comparison can detect, computed before the first run.

Until runs have shown it, the noise of AP is assumed to be that of lite320 on the blood cells (364 images, 3 classes).
All numbers are standard deviations:

- AP of a class with m images varies by .16 / sqrt(m) over draws of the images (.12 to .19 in twelve runs); the mean
  over K classes varies by the root of the sum of their squares, over K.
- .35 of that belongs to a single run: on which images it happens to do well. More seeds average it out. Another .2 is
  assumed to stay in a difference of two arms whatever the seeds (on the blood cells, between box losses, it is less).
- Even with infinitely many images, another seed would change AP by .003.

Most of the noise between seeds is thus that of a finite validation split, as Jordan found for classifiers (2023,
"Calibrated Chaos: Variance Between Runs of Neural Network Training is Harmless and Inevitable").

Shape shorthand: A arms besides the baseline, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, inf, sqrt

import numpy as np

from boxwright.compare.results.statistics import SIMULATIONS, seed_variances, worst_errors
from boxwright.compare.run.jobs import Job
from boxwright.data import NORMAL, DetectionDataset
from boxwright.evaluate.columns import Floats

_OF_CLASS, _OF_RUN, _OF_ARMS, _OF_SEED = 0.16, 0.35, 0.2, 0.003
_ENOUGH_FREEDOM = 4  # degrees of freedom from which measured noise replaces assumed noise
_SEEDS = (3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)  # numbers of seeds to suggest for a smaller difference
_ROUND = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


@dataclass(frozen=True)
class Noise:
    """Variation of AP by chance, as standard deviations."""

    seed: float
    """Standard deviation of an arm's AP over seeds, on these images."""
    image: float
    """Over draws of the images, of a difference between two arms, whatever the seeds."""
    source: str
    """Source of the numbers, in words."""


def assumed_noise(dataset: DetectionDataset) -> Noise:
    """Assume the noise of AP on a validation split, from the number of images that contain each class."""
    counted = dataset.code == NORMAL
    image = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    pairs = np.unique(np.stack([dataset.labels[counted], image[counted]]), axis=1)
    holding = np.unique(pairs[0], return_counts=True)[1]
    score = _OF_CLASS * sqrt((1 / holding).sum()) / len(holding)
    seed = hypot(_OF_SEED, _OF_RUN * score)
    return Noise(seed, _OF_ARMS * score, f"assumed, by the blood cells: other seeds move AP by {seed:.3f}")


def measured_noise(jobs: Sequence[Job], assumed: Noise) -> Noise:
    """Measure the noise over seeds on the finished runs; if they are too few, return the assumed noise."""
    scores: dict[str, dict[int, float]] = {job.arm: {} for job in jobs}
    for job in jobs:
        if job.finished and job.result is not None:
            scores[job.arm][job.seed] = job.result.metrics["AP"]
    first, *others = scores.values()
    complete = [first, *(each for each in others if each.keys() >= first.keys())]
    if (len(complete) - 1) * (len(first) - 1) < _ENOUGH_FREEDOM:
        return assumed
    pooled, _ = seed_variances(np.array([[each[seed] for seed in sorted(first)] for each in complete]))
    seed = sqrt(pooled)
    runs = len(complete) * len(first)
    return Noise(seed, assumed.image, f"measured on {runs} finished runs: other seeds move AP by {seed:.3f}")


def detectable_difference(
    seeds: int, images: int, arms: int, noise: Noise, *, level: float = 0.95, power: float = 0.8
) -> float:
    """Compute the true difference that `compare_arms` finds in ``power`` of all comparisons; infinite with one seed.

    Args:
        seeds: Seeds of each arm.
        images: Images of the validation split.
        arms: Arms besides the baseline.
        noise: Measured or assumed noise.
        level: Level of the intervals.
        power: Share of comparisons that should find the difference.

    Raises:
        ValueError: If there is less than one seed or arm, or fewer than two images.
    """
    if seeds < 1 or arms < 1 or images < 2:
        raise ValueError(f"Expected at least 1 seed, 1 arm and 2 images but got {seeds}, {arms} and {images}")
    if seeds == 1:
        return inf
    image = noise.image**2 / 2 * (np.eye(arms) + 1)
    critical = np.quantile(worst_errors(noise.seed**2, seeds, image, images, seed=0), level)
    random = np.random.default_rng(0)
    pooled, own = _drawn_variances(random, arms, seeds)
    image_variance = noise.image**2 * random.chisquare(images - 1, SIMULATIONS) / (images - 1)
    error = np.sqrt(2 / seeds * noise.seed**2 * np.maximum(pooled, own) + image_variance)
    spread = sqrt(2 / seeds * noise.seed**2 + noise.image**2)
    return float(np.quantile(critical * error - spread * random.standard_normal(SIMULATIONS), power))


def _drawn_variances(random: np.random.Generator, arms: int, seeds: int) -> tuple[Floats, Floats]:
    """Draw the estimates of `seed_variances` for scores with variance 1: pooled and one arm's own, (simulations,) each.

    The residuals lie in A directions: the arm minus the baseline, which alone is in its own variance, and A - 1 others.
    """
    of_arm = random.chisquare(seeds - 1, SIMULATIONS)
    others = random.chisquare((arms - 1) * (seeds - 1), SIMULATIONS) if arms > 1 else 0.0
    return (of_arm + others) / (arms * (seeds - 1)), of_arm / (seeds - 1)


def describe_power(seeds: int, dataset: DetectionDataset, arms: int, noise: Noise) -> str:
    """Describe which difference this many seeds detect, and how many would detect a smaller one."""
    images = len(dataset)
    if seeds == 1:
        least = detectable_difference(3, images, arms, noise)
        return f"one seed shows no difference, for its noise isn't known; 3 seeds would see about {least:.2g} AP"
    least = detectable_difference(seeds, images, arms, noise)
    objects = int((dataset.code == NORMAL).sum())
    said = (
        f"with {images:,} validation images ({objects:,} objects) and {seeds} seeds "
        f"a difference of about {least:.2g} AP can be seen"
    )
    more = [each for each in _SEEDS if each > seeds]
    target = next((each for each in _ROUND if each <= least * 2 / 3), 0.0)
    if not more or not target:
        return said
    near = 1.05 * target
    enough = next((each for each in more if detectable_difference(each, images, arms, noise) <= near), None)
    return f"{said}; " + (
        f"even {more[-1]} seeds wouldn't see {target:g}" if enough is None else f"{enough} seeds would see {target:g}"
    )
