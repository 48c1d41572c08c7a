"""Other anchors for a data set's object sizes: k-means on IoU (Redmon & Farhadi 2017, arXiv:1612.08242, section 2).

Each level takes the objects whose side, sqrt(width x height), is nearest to four of its strides by ratio, so that the
network keeps its maps and its anchors stay within reach of their strides. Among its objects as many shapes are found as
the level has now. A level with too few objects keeps its shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.data import DetectionDataset
from boxwright.inspect.coverage import coverage_curve
from boxwright.inspect.supervision import Advance, MatchRule, Supervision, examine
from boxwright.recipes import Recipe

LEAST_GAIN = 0.03
"""Gain in the mean best IoU of held-out objects; less does not justify other anchors."""
MOST_LOST = 0.005
"""Share of the held-out objects that may lose all their anchors."""
STRIDES_A_SIDE = 4.0
_LEAST_OBJECTS = 50  # in the held-out half; with fewer nothing is suggested
_OBJECTS_A_SHAPE = 10
_MOST_OBJECTS = 20_000  # that k-means uses on each level
_ROUNDS = 100
_STARTS = 4

Shapes = NDArray[np.float64]


class Coverage(NamedTuple):
    """Coverage by anchors of objects that they were not fitted to."""

    mean_iou: float
    """Mean of the best IoU with any anchor."""
    reached: float
    """Share with a best IoU of at least the matcher's threshold, 0.5 where it has none."""
    positives: float
    """Anchors per object, under the recipe's matcher."""
    unmatched: float
    """Share of objects without any anchor."""
    curve: tuple[list[float], list[float]]


class Suggestion(NamedTuple):
    """Anchors for this data, judged on the half of the images that they were not fitted to."""

    setting: str
    """Value for ``--set``; empty if nothing is suggested."""
    reason: str
    before: Coverage | None = None
    after: Coverage | None = None


def suggest_anchors(
    dataset: DetectionDataset,
    recipe: Recipe,
    found: Supervision,
    advance: Advance = lambda done, total: None,
) -> Suggestion:
    """Fit shapes to the objects of every other image and compare on the rest; ``found`` is for the present anchors.

    Nothing is suggested for matchers that ignore an anchor's shape, with fewer than 50 objects in a half, if the gain
    is small, or if more objects would be without an anchor.
    """
    if recipe.matcher.startswith("points"):
        return Suggestion("", "Matcher points goes by the anchors' centers: their shapes don't matter.")
    held_out = found.image % 2 == 1
    if min(held_out.sum(), (~held_out).sum()) < _LEAST_OBJECTS:
        return Suggestion("", f"Fewer than {_LEAST_OBJECTS} objects in a half of the images: too few to judge by.")
    corners = found.boxes[~held_out].astype(np.float64)
    levels = _fit_levels(corners[:, 2:] - corners[:, :2], found.anchors)
    if levels is None:
        return Suggestion("", "No level has enough objects of its size to fit shapes to.")
    setting = _setting(found.anchors, levels)
    strides = [level.stride for level in found.anchors.levels]
    anchors = make_anchors(AnchorSpec.shapes(strides, _text(levels)), recipe.image_size)
    rest = dataset.subset(np.arange(1, len(dataset), 2))
    changed = examine(rest, recipe, anchors, advance)
    before, after = (
        _coverage(part, recipe, chosen) for part, chosen in ((found, held_out), (changed, np.full(len(changed), True)))
    )
    return _judge(setting, before, after)


def k_means(sizes: Shapes, count: int, seed: int = 0) -> Shapes:
    """Find ``count`` widths and heights (count, 2), by rising area, with the lowest mean 1 - IoU to sizes (n, 2).

    Boxes share their center. Returns the best of several starts by k-means++; a center that loses all its sizes stays.

    Raises:
        ValueError: If there are fewer sizes than centers.
    """
    if len(sizes) < count:
        raise ValueError(f"Expected at least {count} sizes but got {len(sizes)}")
    rng = np.random.default_rng(seed)
    runs = [_lloyd(sizes, _start(sizes, count, rng)) for _ in range(_STARTS)]
    best = max(runs, key=lambda centers: float(shape_iou(sizes, centers).max(1).mean()))
    return best[np.argsort(best.prod(1), kind="stable")]


def shape_iou(sizes: Shapes, centers: Shapes) -> NDArray[np.float64]:
    """Compute the IoU (n, k) of boxes of sizes (n, 2) and (k, 2) about one center."""
    shared = np.minimum(sizes[:, None], centers).prod(-1)
    union = sizes.prod(1)[:, None] + centers.prod(1) - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def _start(sizes: Shapes, count: int, rng: np.random.Generator) -> Shapes:
    """Draw starting sizes far from one another, each by its distance to those before (Arthur & Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(sizes)))]
    for _ in range(count - 1):
        distance = 1 - shape_iou(sizes, sizes[chosen]).max(1)
        total = distance.sum()
        weights = distance / total if total > 0 else None
        chosen.append(int(rng.choice(len(sizes), p=weights)))
    return sizes[chosen].copy()


def _lloyd(sizes: Shapes, centers: Shapes) -> Shapes:
    owner = np.full(len(sizes), -1)
    for _ in range(_ROUNDS):
        nearest = shape_iou(sizes, centers).argmax(1)
        if (nearest == owner).all():
            break
        owner = nearest
        for place in np.unique(owner).tolist():
            centers[place] = sizes[owner == place].mean(0)
    return centers


def _fit_levels(sizes: Shapes, anchors: Anchors) -> list[Shapes] | None:
    """Fit the shapes of each level to sizes (n, 2); None if all levels keep theirs."""
    sizes = sizes[sizes.min(1) >= 1]
    strides = np.array([level.stride for level in anchors.levels])
    side = np.sqrt(sizes.prod(1))
    owner = np.abs(np.log(side[:, None] / (STRIDES_A_SIDE * strides))).argmin(1)
    rng = np.random.default_rng(0)
    levels, fitted = [], False
    for place, level in enumerate(anchors.levels):
        mine = sizes[owner == place]
        if len(mine) > _MOST_OBJECTS:
            mine = mine[rng.choice(len(mine), _MOST_OBJECTS, replace=False)]
        enough = len(mine) >= _OBJECTS_A_SHAPE * len(level.shapes)
        levels.append(k_means(mine, len(level.shapes)) if enough else level.shapes.double().numpy())
        fitted |= enough
    return levels if fitted else None


def _text(levels: list[Shapes]) -> str:
    return " / ".join(" ".join(f"{w:.3g}x{h:.3g}" for w, h in level.tolist()) for level in levels)


def _setting(anchors: Anchors, levels: list[Shapes]) -> str:
    strides = ",".join(f"{level.stride:g}" for level in anchors.levels)
    return f"anchors=shapes:strides=[{strides}],levels={_text(levels)}"


def _coverage(found: Supervision, recipe: Recipe, chosen: NDArray[np.bool_]) -> Coverage:
    iou, positives = found.best_iou[chosen], found.positives[chosen].sum(1)
    threshold = np.float32(MatchRule.of(recipe).positive)
    return Coverage(
        float(iou.mean()),
        float((iou >= threshold).mean()),
        float(positives.mean()),
        float((positives == 0).mean()),
        coverage_curve(iou),
    )


def _judge(setting: str, before: Coverage, after: Coverage) -> Suggestion:
    gain = after.mean_iou - before.mean_iou
    change = f"mean best IoU of the held-out objects {before.mean_iou:.3f} -> {after.mean_iou:.3f}"
    if gain < LEAST_GAIN:
        return Suggestion("", f"Keep the anchors: k-means gains too little ({change}).", before, after)
    if after.unmatched > before.unmatched + MOST_LOST:
        lost = f"{100 * before.unmatched:.2g} % -> {100 * after.unmatched:.2g} % of the objects without anchor"
        return Suggestion("", f"Keep the anchors: k-means covers better ({change}), but {lost}.", before, after)
    return Suggestion(setting, f"Fitted anchors cover better: {change}.", before, after)
