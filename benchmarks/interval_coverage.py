"""How often intervals of AP hold the true AP, by simulation; the kinds of interval beside one another.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py [--images 20,50,100,200] [--trials 500] [--case NAME]

Splits of n images are drawn from a made-up world whose images differ in difficulty: in an easy one objects are found
more often, with better boxes and scores, and less that is wrong is found. The truth is the AP of 60,000 images of it.
A row says in how many of the trials the nominal 95 % interval held the truth, for AP over all classes and for the
rarest class, and how wide it was on average. The standard error of a share near .95 is .01 with 500 trials.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import nan
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate import DetectionColumns, MatchTable, TargetColumns, match_detections
from boxwright.evaluate.bootstrap import bootstrap_precision, draw_images, mean_of_defined
from boxwright.evaluate.intervals import RESAMPLES, score_intervals, t_quantile

Floats = NDArray[np.float64]


class World(NamedTuple):
    """What images are drawn from."""

    objects: tuple[float, ...]
    """Of each class in an image, on average."""
    skill: float
    """Of the detector, in logits."""


WORLDS = {
    "one class": World((1.3,), 1.5),
    "three classes": World((10.0, 0.9, 0.8), 0.8),
    "twenty classes": World(tuple(np.geomspace(1.0, 0.1, 20).tolist()), 0.3),
    "a strong detector": World((2.0, 0.5), 3.0),
}


def draw_split(world: World, images: int, random: np.random.Generator) -> MatchTable:
    """Objects, what is found of them, and what is wrongly found. Boxes of an image lie apart, so that each detection
    overlaps one object at most."""
    ease = random.normal(0, 1, images)
    count = random.poisson(world.objects, (images, len(world.objects))) * (random.random((images, 1)) < 0.9)
    image, label = (np.repeat(grid.ravel(), count.ravel()) for grid in np.indices(count.shape))
    quality = world.skill + ease[image] - 0.05 * label + random.normal(0, 1, len(image))
    slot = np.arange(len(image), dtype=np.float64)
    boxes = np.column_stack([100 * slot, 0 * slot, 0 * slot + 50, 0 * slot + 50])
    targets = _targets(image, label, boxes, images)

    iou = 1 / (1 + np.exp(-(0.9 + 0.7 * quality + random.normal(0, 0.6, len(image)))))
    seen = random.random(len(image)) < 1 / (1 + np.exp(-2 - quality))
    near = boxes.copy()
    near[:, 2] *= iou
    score = quality + random.normal(0, 0.8, len(image))
    wrong = random.poisson(np.exp(0.8 - 0.4 * ease))
    wrong_image = np.repeat(np.arange(images), wrong)
    shares = np.array(world.objects) / sum(world.objects)
    detections = DetectionColumns(
        image=np.concatenate([image[seen], wrong_image]),
        label=np.concatenate([label[seen], random.choice(len(shares), len(wrong_image), p=shares)]),
        score=np.concatenate([score[seen], random.normal(world.skill - 2, 1.2, len(wrong_image))]),
        xywh=np.concatenate([near[seen], np.tile([-500.0, -500, 20, 20], (len(wrong_image), 1))]),
    )
    return match_detections(detections, targets, len(world.objects))


def _targets(image: NDArray[np.int64], label: NDArray[np.int64], boxes: Floats, images: int) -> TargetColumns:
    none = np.zeros(len(image), bool)
    return TargetColumns(image, label, boxes, boxes[:, 2] * boxes[:, 3], none, none, np.arange(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="20,50,100,200")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--case", choices=WORLDS, help="one world")
    arguments = parser.parse_args()
    for name, world in WORLDS.items():
        if arguments.case in (None, name):
            truth = _scores(draw_split(world, 60_000, np.random.default_rng(0)), np.ones((1, 60_000), np.int64))[0]
            print(f"{name}: AP {truth[0]:.3f}, rarest class {truth[1]:.3f}", flush=True)
            for images in map(int, arguments.images.split(",")):
                _report(world, truth, images, arguments.trials)


def _scores(table: MatchTable, draws: NDArray[np.int64]) -> Floats:
    """(R, 2): AP of all classes, and of the last."""
    by_class = bootstrap_precision(table, draws).mean(axis=2)
    return np.column_stack([mean_of_defined(by_class), by_class[:, -1]])


def _report(world: World, truth: Floats, images: int, trials: int) -> None:
    held: dict[str, list[NDArray[np.bool_]]] = {}
    width: dict[str, list[Floats]] = {}
    for trial in range(trials):
        table = draw_split(world, images, np.random.default_rng((1, images, trial)))
        for kind, ends in _intervals(table, images, trial).items():
            low, high = np.array(ends).T
            known = np.isfinite(low)
            held.setdefault(kind, []).append(np.where(known, (low <= truth) & (truth <= high), np.nan))
            width.setdefault(kind, []).append(high - low)
    for kind in held:
        shares, widths = np.nanmean(held[kind], axis=0), np.nanmean(width[kind], axis=0)
        print(
            f"  {images:4d} images  {kind:12s} all {shares[0]:.3f} ({widths[0]:.3f} wide)   "
            f"rarest {shares[1]:.3f} ({widths[1]:.3f} wide)",
            flush=True,
        )


def _intervals(table: MatchTable, images: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    """Of each kind the interval of all classes and of the last."""
    ours = score_intervals(table, seed=seed)["AP"]
    each_once = np.ones((1, images), np.int64)
    scores = _scores(
        table, np.vstack([each_once, draw_images(images, RESAMPLES, seed=seed), 1 - np.eye(images, dtype=int)])
    )
    found: dict[str, list[tuple[float, float]]] = {"ours": [ours.overall, ours.by_class[-1]]}
    for column in scores.T:
        point, drawn, left = column[0], column[1 : RESAMPLES + 1], column[RESAMPLES + 1 :]
        for kind, interval in OTHERS.items():
            found.setdefault(kind, []).append(
                (nan, nan) if np.isnan(point) else interval(point, drawn[~np.isnan(drawn)], left[~np.isnan(left)])
            )
    return found


def _percentile(point: float, drawn: Floats, left: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return low, high


def _basic(point: float, drawn: Floats, left: Floats) -> tuple[float, float]:
    low, high = _percentile(point, drawn, left)
    return 2 * point - high, 2 * point - low


def _bca(point: float, drawn: Floats, left: Floats) -> tuple[float, float]:
    """Bias-corrected and accelerated (Efron 1987); ``left``: scores with one image left out."""
    normal = NormalDist()
    below = ((drawn < point).mean() + (drawn <= point).mean()) / 2
    bias = normal.inv_cdf(min(max(below, 1e-3), 1 - 1e-3))
    away = left.mean() - left
    acceleration = (away**3).sum() / max(6 * (away**2).sum() ** 1.5, 1e-30)
    reaches = [bias + normal.inv_cdf(tail) for tail in (0.025, 0.975)]
    low, high = np.quantile(drawn, [normal.cdf(bias + reach / (1 - acceleration * reach)) for reach in reaches])
    return low, high


def _t(point: float, drawn: Floats, left: Floats) -> tuple[float, float]:
    reach = t_quantile(0.975, len(left) - 1) * drawn.std()
    return point - reach, point + reach


OTHERS: dict[str, Callable[[float, Floats, Floats], tuple[float, float]]] = {
    "percentile": _percentile,
    "basic": _basic,
    "BCa": _bca,
    "t": _t,
}

if __name__ == "__main__":
    main()
