"""How well objects are covered by anchors, by size, class and level, with a one-line summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.anchors import Anchors
from boxwright.inspect.supervision import Supervision

COCO_SIDES = (32.0, 96.0)
"""COCO's limits between small, medium and large, here in pixels of the input, as the anchors are."""
WORTH_A_WORD = 0.01
"""Share of the objects below which a finding is not mentioned."""
_LEAST_ASIDE = 0.0005  # as a share of the anchors


class Group(NamedTuple):
    """A group of objects and how well it is covered."""

    name: str
    objects: int
    best_iou: float
    """Median over the objects of the best IoU with any anchor; NaN without objects, as is the mean below."""
    positives: float
    """Mean number of anchors that answer for an object."""
    forced: float
    """Share of the objects that have only forced anchors."""
    unmatched: float
    """Share of the objects that no anchor answers for."""


class LevelUse(NamedTuple):
    """Use of a feature map's anchors."""

    stride: float
    cells: tuple[int, int]
    shapes: tuple[tuple[float, float], ...]
    anchors: int
    positives: int
    """Number of positives, over all objects."""
    objects: int
    """Objects that have some of their positives on this level."""


def group(supervision: Supervision, name: str, chosen: NDArray[np.bool_]) -> Group:
    """Summarize the objects where ``chosen`` (n,) holds."""
    count = int(chosen.sum())
    if not count:
        return Group(name, 0, math.nan, math.nan, math.nan, math.nan)
    return Group(
        name,
        count,
        float(np.median(supervision.best_iou[chosen])),
        float(supervision.positives[chosen].sum(1).mean()),
        float(supervision.forced[chosen].mean()),
        float(supervision.unmatched[chosen].mean()),
    )


def by_coco_size(supervision: Supervision) -> list[Group]:
    """Group all objects, then COCO's small, medium and large ones, by area after the resize."""
    small, large = COCO_SIDES
    sides = supervision.sides
    limits = {"all": (0.0, math.inf), "small": (0.0, small), "medium": (small, large), "large": (large, math.inf)}
    return [group(supervision, name, (sides >= low) & (sides < high)) for name, (low, high) in limits.items()]


def by_side(supervision: Supervision) -> list[Group]:
    """Group by sqrt(area) after the resize, in bins of half an octave; empty bins are left out."""
    bins = np.floor(2 * np.log2(np.maximum(supervision.sides, 1))).astype(int)
    edges = [f"{2 ** (k / 2):.0f} to {2 ** ((k + 1) / 2):.0f} px" for k in range(bins.max(initial=0) + 1)]
    return [group(supervision, edges[k], bins == k) for k in np.unique(bins).tolist()]


def by_class(supervision: Supervision, classes: Sequence[str]) -> list[Group]:
    """Group by class in label order, including classes without objects."""
    return [group(supervision, name, supervision.label == label) for label, name in enumerate(classes)]


def by_level(supervision: Supervision) -> list[LevelUse]:
    """Summarize each level of the anchors, finest first."""
    return [
        LevelUse(
            stride=level.stride,
            cells=level.grid,
            shapes=tuple((w, h) for w, h in level.shapes.tolist()),
            anchors=level.count,
            positives=int(supervision.positives[:, place].sum()),
            objects=int((supervision.positives[:, place] > 0).sum()),
        )
        for place, level in enumerate(supervision.anchors.levels)
    ]


def coverage_curve(best_iou: NDArray[np.float32]) -> tuple[list[float], list[float]]:
    """Compute the share of the objects whose best IoU (n,) reaches each of the thresholds 0, .01 ... 1."""
    thresholds = np.linspace(0, 1, 101)
    below = np.searchsorted(np.sort(best_iou), thresholds.astype(np.float32), side="left")
    return thresholds.tolist(), (1 - below / max(len(best_iou), 1)).tolist()


def anchor_sides(anchors: Anchors) -> tuple[float, float]:
    """Compute sqrt(width x height) of the smallest and the largest anchor shape, in pixels."""
    areas = [area for level in anchors.levels for area in level.shapes.prod(1).tolist()]
    return math.sqrt(min(areas)), math.sqrt(max(areas))


def percent(share: float) -> str:
    """Format a share as ``0.47 %`` or ``54 %``; a dash for NaN."""
    if share != share:
        return "–"
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def headline(supervision: Supervision) -> str:
    """Describe what is wrong with the supervision of these objects, worst first, or say that nothing is."""
    if not len(supervision):
        return "There are no objects to match."
    smallest, largest = anchor_sides(supervision.anchors)
    sides, none = supervision.sides, supervision.unmatched
    findings = [
        (none, "have no anchor at all: nothing teaches the detector to find them"),
        (supervision.forced, "have nothing but a forced anchor below the threshold"),
        (sides < smallest, f"are smaller than any anchor ({smallest:.0f} px)"),
        (sides > largest, f"are larger than any anchor ({largest:.0f} px)"),
    ]
    said = [f"{100 * where.mean():.0f} % {what}" for where, what in findings if where.mean() >= WORTH_A_WORD]
    mean = float(supervision.positives.sum(1).mean())
    usual = f"{mean:.1f} an object on average, median best IoU {np.median(supervision.best_iou):.2f}"
    aside = supervision.left_aside / max(supervision.matched, 1)
    if aside >= _LEAST_ASIDE:
        usual += f", {percent(aside)} of all anchors ignored"
    if none.mean() >= WORTH_A_WORD or supervision.forced.mean() >= WORTH_A_WORD:
        said[0] = said[0].replace(" % ", " % of your objects ", 1)
        return f"{'; '.join(said)}. Anchors: {usual}."
    whose = f"All of your objects but {none.sum()} have" if none.any() else "Every object has"
    return "; ".join([f"{whose} anchors: {usual}", *said]) + "."
