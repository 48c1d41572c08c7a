"""Slices of a split: how good a detector is on a part of the images, and whether that differs from the rest.

Matches do not change: the slices of a split are weightings of its one match table, so that their targets and detections
sum to the table's. A slice and the rest share no image; both are scored on every draw of the bootstrap, and the
verdicts of all slices are corrected for their number by Holm's rule, as in `paired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boxwright.evaluate.bootstrap import bootstrap_precision, draw_images, mean_of_defined
from boxwright.evaluate.columns import Floats
from boxwright.evaluate.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    ends,
    images_of_classes,
    images_with_targets,
    intervals_of_scores,
)
from boxwright.evaluate.metrics import MetricsTable
from boxwright.evaluate.paired import PairedDifference, judge

MOST_SLICES = 50


@dataclass(frozen=True)
class Slice:
    """A part of the images."""

    images: int
    targets: int
    """Number of targets that count."""
    AP: float
    """Mean over the classes in the slice; NaN without targets."""
    interval: Interval
    difference: PairedDifference
    """Difference from the rest of the images: mean over the classes that both have."""
    per_class: dict[str, dict[str, float]]
    """Class -> AP and targets; over the slices these sum to the table's."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, None for undefined ones."""
        per_class = {
            name: {"AP": None if np.isnan(row["AP"]) else row["AP"], "targets": row["targets"]}
            for name, row in self.per_class.items()
        }
        return {
            "images": self.images,
            "targets": self.targets,
            "AP": None if np.isnan(self.AP) else self.AP,
            "interval": ends(self.interval),
            "difference": self.difference.to_json(),
            "per_class": per_class,
        }


def slice_metrics(
    table: MetricsTable, groups: Sequence[str], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Slice]:
    """Compute AP of each group of images with its interval, and the difference from all other images.

    Args:
        table: Metrics of the split.
        groups: (n,) name of each image's slice.
        level: Level of intervals and verdicts.
        resamples: Number of draws of the images.
        seed: Seed of the draws.

    Raises:
        ValueError: If the numbers of groups and images differ, or there are fewer than two slices or more than
            `MOST_SLICES`.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}] * 6
        >>> day = [{"boxes": [[0, 0, 10, 10]], "scores": [0.9], "labels": [0]}] * 3
        >>> night = [{"boxes": [[0, 0, 10, 7]], "scores": [0.9], "labels": [0]}] * 3
        >>> metrics = bw.evaluate.detection_metrics(day + night, truth, ["cat"])
        >>> slices = bw.evaluate.slice_metrics(metrics, ["day"] * 3 + ["night"] * 3, resamples=100)
        >>> {name: f"{each.AP:.2f}" for name, each in slices.items()}
        {'day': '1.00', 'night': '0.50'}
    """
    matches = table.matches
    images = len(matches.targets.image_rank)
    names = sorted(set(groups))
    if len(groups) != images:
        raise ValueError(f"Expected a group for each of {images} images but got {len(groups)}")
    if not 2 <= len(names) <= MOST_SLICES:
        raise ValueError(f"Expected 2 to {MOST_SLICES} slices but got {len(names)}: {', '.join(names[:3])} ...")
    draws = np.vstack([np.ones((1, images), np.int64), draw_images(images, resamples, seed=seed)])
    inside = {name: np.array([group == name for group in groups]) for name in names}
    scores = {name: _class_scores(table, draws * own) for name, own in inside.items()}
    away = {name: mean_of_defined(scores[name] - _class_scores(table, draws * ~own)) for name, own in inside.items()}
    held = {
        name: min(images_with_targets(matches, own), images_with_targets(matches, ~own)) for name, own in inside.items()
    }
    differences = judge(away, held, images_with_targets(matches), level)
    found = {}
    for name, own in inside.items():
        with_targets = images_with_targets(matches, own)
        interval = intervals_of_scores(scores[name], images_of_classes(matches, own), with_targets, level).overall
        counted = matches.counted[:, 0] & own[matches.targets.image]
        targets = np.bincount(matches.targets.label[counted], minlength=len(table.classes))
        rows = zip(table.classes, scores[name][0].tolist(), targets.tolist(), strict=True)
        per_class = {label: {"AP": score, "targets": count} for label, score, count in rows}
        ap = float(mean_of_defined(scores[name][:1])[0])
        found[name] = Slice(int(own.sum()), int(targets.sum()), ap, interval, differences[name], per_class)
    return found


def _class_scores(table: MetricsTable, draws: Any) -> Floats:
    """Compute AP (R, K) on the drawn images."""
    scores: Floats = bootstrap_precision(table.matches, draws).mean(axis=2)
    return scores
