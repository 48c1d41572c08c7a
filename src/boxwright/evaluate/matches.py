"""One match table, from which every number and every later analysis is computed.

The rule is COCO's. In an image, and class by class, detections choose by falling score; each takes, of the targets
that are still free, the one that it overlaps most, at each IoU threshold and for each area range by itself. Ignored
targets (crowd, difficult, outside the area range) are looked at only where no counted one is free; a detection that
takes one is neither credited nor penalised. A crowd is overlapped by intersection / detection area and is never used
up. A detection that takes nothing is ignored where its own area is outside the range, else false.
Source: Lin et al. 2014 (COCO) and the documented behaviour of its evaluation code, to the order of ties.

Shape shorthand: N detections, M targets, T IoU thresholds, A area ranges, P pairs that reach the lowest threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate.columns import (
    Bools,
    DetectionColumns,
    Floats,
    Ints,
    TargetColumns,
    check_columns,
    rank_in_runs,
)

AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""COCO's area ranges in square pixels, both ends included."""

IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())

_PAIRS_AT_ONCE = 50_000  # bounds the memory of the overlaps, and lets them stay in the cache


@dataclass(frozen=True, slots=True)
class MatchTable:
    """One row a detection, sorted by class, then falling score, then image id, then the order given."""

    detection: Ints
    """(N,) row in the detections as they were given."""
    image: Ints
    label: Ints
    score: Floats
    rank: Ints
    """(N,) place by score among the detections of its image and class; those from `max_detections` on match nothing."""
    true_positive: Bools
    """(N, T, A) took a counted target."""
    ignored: Bools
    """(N, T, A) neither credited nor penalised."""
    target: NDArray[np.int32]
    """(N, T) target taken (counted or ignored) in the range "all", -1 where none."""
    iou: Floats
    """(N,) greatest IoU with a target of its image and class that isn't a crowd, free or not; 0 where none."""
    nearest: NDArray[np.int32]
    """(N,) that target, the first on ties, -1 where `iou` is 0."""
    crowd_overlap: Floats
    """(N,) greatest share of the detection's area inside one crowd box of its class."""
    targets: TargetColumns
    positives: Ints
    """(K, A) counted targets."""
    class_rows: Ints
    """(K + 1,) rows of class k are class_rows[k]:class_rows[k + 1]."""
    iou_thresholds: tuple[float, ...]
    max_detections: int

    def rows(self, label: int) -> slice:
        """The rows of a class."""
        return slice(int(self.class_rows[label]), int(self.class_rows[label + 1]))


class Pairs(NamedTuple):
    """Boxes and targets that overlap, by rising row of the boxes."""

    row: Ints
    target: Ints
    overlap: Floats

    def take(self, kept: Bools) -> Pairs:
        return Pairs(self.row[kept], self.target[kept], self.overlap[kept])


def match_detections(
    detections: DetectionColumns,
    targets: TargetColumns,
    num_classes: int,
    *,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    max_detections: int = 100,
) -> MatchTable:
    """Match detections to targets at every IoU threshold and for every area range.

    Args:
        iou_thresholds: (T,) in (0, 1]; reached when overlap >= threshold.
        max_detections: the best so many of each image and class choose.

    Raises:
        ValueError: labels, images, thresholds or numbers that can't be.
    """
    thresholds = tuple(float(value) for value in iou_thresholds)
    if not thresholds or min(thresholds) <= 0 or max(thresholds) > 1:
        raise ValueError(f"Expected IoU thresholds in (0, 1] but got {thresholds}")
    check_columns(detections, targets, num_classes)
    image_rank = targets.image_rank
    rows = np.lexsort((image_rank[detections.image], -detections.score, detections.label))
    chosen = detections.take(rows)
    group = chosen.label * len(image_rank) + image_rank[chosen.image]
    target_group = targets.label * len(image_rank) + image_rank[targets.image]
    rank = _rank_in_groups(group)

    pairs, iou, nearest, crowd_overlap = overlapping_pairs(chosen.xywh, targets, group, target_group, min(thresholds))
    pairs = pairs.take(rank[pairs.row] < max_detections)
    counted = _in_areas(targets.area) & ~(targets.crowd | targets.difficult)[:, None]
    outside = ~_in_areas(chosen.xywh[:, 2] * chosen.xywh[:, 3])
    true_positive, ignored, target = _choose(pairs, group, targets.crowd, counted, outside, np.array(thresholds))
    positives = np.zeros((num_classes, len(AREAS)), np.int64)
    np.add.at(positives, targets.label, counted)
    return MatchTable(
        detection=rows,
        image=chosen.image,
        label=chosen.label,
        score=chosen.score,
        rank=rank,
        true_positive=true_positive,
        ignored=ignored,
        target=target,
        iou=iou,
        nearest=nearest,
        crowd_overlap=crowd_overlap,
        targets=targets,
        positives=positives,
        class_rows=np.searchsorted(chosen.label, np.arange(num_classes + 1)),
        iou_thresholds=thresholds,
        max_detections=max_detections,
    )


def _rank_in_groups(group: Ints) -> Ints:
    order = np.argsort(group, kind="stable")
    rank = np.empty(len(group), np.int64)
    rank[order] = rank_in_runs(group[order])
    return rank


def _in_areas(area: Floats) -> Bools:
    """(m, A)"""
    low, high = np.array(list(AREAS.values())).T
    inside: Bools = (area[:, None] >= low) & (area[:, None] <= high)
    return inside


def overlapping_pairs(
    boxes: Floats, targets: TargetColumns, group: Ints, target_group: Ints, threshold: float
) -> tuple[Pairs, Floats, NDArray[np.int32], Floats]:
    """Pairs of one group that reach the threshold, by rising row; each row's best IoU, its target, and its crowd share.

    ``boxes`` (N, 4) xywh. A group is what may match, an image or a class of it: ``group`` (N,), ``target_group`` (M,).
    """
    by_group = np.argsort(target_group, kind="stable")
    first = np.searchsorted(target_group[by_group], group, side="left")
    counts = np.searchsorted(target_group[by_group], group, side="right") - first
    iou, crowd_overlap = np.zeros(len(group)), np.zeros(len(group))
    nearest = np.full(len(group), -1, np.int32)
    kept: list[Pairs] = []
    for rows in _chunks(counts):
        count = counts[rows]
        starts = np.cumsum(count) - count
        row = np.repeat(rows, count)
        target = by_group[np.arange(len(row)) + np.repeat(first[rows] - starts, count)]
        crowd = targets.crowd[target]
        overlap = _overlap(boxes[row], targets.xywh[target], crowd)
        crowd_overlap[rows] = np.maximum.reduceat(np.where(crowd, overlap, 0.0), starts)
        plain = np.where(crowd, 0.0, overlap)
        iou[rows] = np.maximum.reduceat(plain, starts)
        best = np.flatnonzero((plain > 0) & (plain == iou[row]))[::-1]
        nearest[row[best]] = target[best]  # of repeated rows the last written stays: the first target
        near = overlap >= min(threshold, 1 - 1e-10)
        kept.append(Pairs(row, target, overlap).take(near))
    if not kept:
        kept.append(Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)))
    return Pairs(*map(np.concatenate, zip(*kept, strict=True))), iou, nearest, crowd_overlap


def _chunks(counts: Ints) -> Iterator[Ints]:
    """Rows that have a target to look at, in runs of about `_PAIRS_AT_ONCE` pairs."""
    rows = np.flatnonzero(counts)
    if len(rows):
        part = np.cumsum(counts[rows]) // _PAIRS_AT_ONCE
        yield from np.split(rows, np.flatnonzero(np.diff(part)) + 1)


def _overlap(boxes: Floats, others: Floats, crowd: Bools) -> Floats:
    """(P,) IoU, or intersection / area of the box where `crowd`. The order of operations is the reference's."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    sides = np.maximum(np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:]) - low, 0.0)
    intersection = sides[:, 0] * sides[:, 1]
    area = boxes[:, 2] * boxes[:, 3]
    union = np.where(crowd, area, area + others[:, 2] * others[:, 3] - intersection)
    overlap: Floats = np.divide(intersection, union, out=np.zeros(len(boxes)), where=intersection > 0)
    return overlap


def _choose(
    pairs: Pairs, group: Ints, crowd: Bools, counted: Bools, outside: Bools, thresholds: Floats
) -> tuple[Bools, Bools, NDArray[np.int32]]:
    """Let the detections choose in rounds: the k-th of every image and class at once, for all thresholds and areas.

    A pair's worth is an integer that orders a detection's pairs: counted targets first, then overlap, then the later
    target. The best free pair is then a maximum, and pair and kind are read back from it.
    """
    num_rows, num_pairs, num_areas = len(group), len(pairs.row), counted.shape[1]
    true_positive = np.zeros((num_rows, len(thresholds), num_areas), np.bool_)
    ignored = np.repeat(outside[:, None], len(thresholds), axis=1)
    target = np.full((num_rows, len(thresholds)), -1, np.int32)
    taken = np.zeros((len(crowd), len(thresholds), num_areas), np.bool_)

    by_worth = np.lexsort((pairs.target, pairs.overlap))
    worth = np.empty(num_pairs, np.int64)
    worth[by_worth] = np.arange(num_pairs)
    worth = worth[:, None] + num_pairs * counted[pairs.target]  # (P, A)
    reached = pairs.overlap[:, None] >= np.minimum(thresholds, 1 - 1e-10)  # (P, T)
    target_by_worth = pairs.target[by_worth]

    for part, starts in _rounds(pairs.row, group):
        rows, targets = pairs.row[part[starts]], pairs.target[part]
        free = reached[part][:, :, None] & (crowd[targets][:, None, None] | ~taken[targets])
        best = np.maximum.reduceat(np.where(free, worth[part][:, None], -1), starts)  # (rows, T, A)
        found = best >= 0
        choice = target_by_worth[best % num_pairs]
        _, at_threshold, at_area = np.nonzero(found)
        taken[choice[found], at_threshold, at_area] = True
        true_positive[rows] = best >= num_pairs
        ignored[rows] = np.where(found, best < num_pairs, ignored[rows])
        target[rows] = np.where(found[:, :, 0], choice[:, :, 0], -1)
    return true_positive, ignored, target


def _rounds(row: Ints, group: Ints) -> Iterator[tuple[Ints, Ints]]:
    """For each round the pairs of the detections whose turn it is, and where each detection's pairs start in them.

    Pairs come by rising row, and rows of a group by falling score. A round holds one detection of a group at most.
    """
    rows, counts = np.unique(row, return_counts=True)
    turn = np.repeat(_rank_in_groups(group[rows]), counts)
    order = np.argsort(turn, kind="stable")
    ends = np.flatnonzero(np.diff(turn[order], append=-1)) + 1
    for part in np.split(order, ends[:-1]) if len(order) else ():
        yield part, np.flatnonzero(np.diff(row[part], prepend=-1))
