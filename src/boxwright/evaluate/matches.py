"""One match table, from which all metrics and later analyses are computed.

The rule is COCO's. In each image and class, detections choose in order of falling score. Each takes the free target
that it overlaps most, separately for every IoU threshold and area range. Ignored targets (crowd, difficult, outside the
area range) are considered only if no counted one is free; a detection that takes one is neither credited nor penalized.
The overlap with a crowd is intersection / detection area, and a crowd can be taken any number of times. A detection
that takes nothing is ignored if its own area is outside the range, else false. Source: Lin et al. 2014 (COCO) and the
documented behavior of its evaluation code, including the order of ties.

How it is computed: only the P pairs of an image and class that reach the lowest threshold are listed
(``overlapping_pairs``). Choosing then runs in rounds (``_choose``): the k-th round lets the k-th detection of every
image and class choose at once, at all thresholds and area ranges, so the number of rounds is the largest number of
detections in one image and class, not the number of detections.

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
from boxwright.evaluate.overlaps import best_in_runs, meetings, overlap

AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""COCO's area ranges in square pixels, both ends included."""

Least = float | Floats
"""The score from which detections count: one for all classes, or (K,) one for each."""

IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())


@dataclass(frozen=True, slots=True)
class MatchTable:
    """One row per detection, sorted by class, then falling score, then image id, then the given order."""

    detection: Ints
    """(N,) row in the detections as they were given."""
    image: Ints
    label: Ints
    score: Floats
    xywh: Floats
    """(N, 4)"""
    rank: Ints
    """(N,) rank by score among the detections of its image and class; those from `max_detections` on match nothing."""
    true_positive: Bools
    """(N, T, A) took a counted target."""
    ignored: Bools
    """(N, T, A) neither credited nor penalized."""
    target: NDArray[np.int32]
    """(N, T) target taken (counted or ignored) in the range "all", -1 where none."""
    iou: Floats
    """(N,) highest IoU with a target of its image and class that is not a crowd, free or not; 0 where none."""
    nearest: NDArray[np.int32]
    """(N,) that target, the first on ties, -1 where `iou` is 0."""
    crowd_overlap: Floats
    """(N,) largest share of the detection's area inside one crowd box of its class."""
    targets: TargetColumns
    counted: Bools
    """(M, A) targets to be found: no crowd, not difficult, and inside the range."""
    positives: Ints
    """(K, A) counted targets of each class."""
    class_rows: Ints
    """(K + 1,) rows of class k are class_rows[k]:class_rows[k + 1]."""
    iou_thresholds: tuple[float, ...]
    max_detections: int

    def rows(self, label: int) -> slice:
        """Return the rows of a class."""
        return slice(int(self.class_rows[label]), int(self.class_rows[label + 1]))

    def has_threshold(self, iou: float) -> bool:
        """Tell whether detections were matched at this IoU."""
        return bool(np.isclose(self.iou_thresholds, iou, rtol=0, atol=1e-9).any())

    def threshold(self, iou: float) -> int:
        """Return the index of an IoU among the thresholds.

        Raises:
            ValueError: If it is not one of them.
        """
        if not self.has_threshold(iou):
            raise ValueError(f"Expected an IoU of {self.iou_thresholds} but got {iou}")
        return int(np.argmin(np.abs(np.array(self.iou_thresholds) - iou)))

    def from_score(self, score: Least) -> Bools:
        """Select the detections (N,) from ``score`` up, one for all or (K,) one for each class."""
        min_scores = np.asarray(score, np.float64)
        kept: Bools = self.score >= (min_scores[self.label] if min_scores.ndim else min_scores)
        return kept

    def right(self, iou: float, score: Least = -np.inf) -> Bools:
        """Select the detections (N,) from ``score`` up that took a counted target, in the range "all"."""
        hit: Bools = self.true_positive[:, self.threshold(iou), 0]
        return hit & self.from_score(score)

    def wrong(self, iou: float, score: Least = -np.inf) -> Bools:
        """Select the detections (N,) from ``score`` up that count and took nothing, in the range "all"."""
        place = self.threshold(iou)
        wrong: Bools = ~(self.true_positive[:, place, 0] | self.ignored[:, place, 0])
        return wrong & (self.rank < self.max_detections) & self.from_score(score)

    def not_found(self, iou: float, score: Least = -np.inf) -> Bools:
        """Select the counted targets (M,) that no detection from ``score`` up took, in the range "all"."""
        free: Bools = self.counted[:, 0].copy()
        free[self.target[self.right(iou, score), self.threshold(iou)]] = False
        return free


class Pairs(NamedTuple):
    """Boxes and targets that overlap, sorted by row of the boxes."""

    row: Ints
    target: Ints
    overlap: Floats

    def take(self, kept: Bools) -> Pairs:
        """Select pairs by a mask or an index."""
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
        detections: Detections of the split, N rows.
        targets: Targets of the split, M rows.
        num_classes: K.
        iou_thresholds: (T,) in (0, 1]; reached when overlap >= threshold.
        max_detections: Only this many of the best detections of each image and class choose.

    Raises:
        ValueError: If labels, images, thresholds or numbers are invalid.

    Examples:
        >>> targets = bw.evaluate.to_targets([{"boxes": [[0, 0, 10, 10]], "labels": [0]}])
        >>> found = [{"boxes": [[0, 0, 10, 10], [0, 0, 10, 9]], "scores": [0.9, 0.8], "labels": [0, 0]}]
        >>> detections = bw.evaluate.to_detections(found, num_images=1)
        >>> table = bw.evaluate.match_detections(detections, targets, num_classes=1)
        >>> table.true_positive[:, 0, 0]  # at IoU .5, any size
        array([ True, False])
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
        xywh=chosen.xywh,
        rank=rank,
        true_positive=true_positive,
        ignored=ignored,
        target=target,
        iou=iou,
        nearest=nearest,
        crowd_overlap=crowd_overlap,
        targets=targets,
        counted=counted,
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
    """Tell which areas (m,) are in each area range, (m, A)."""
    low, high = np.array(list(AREAS.values())).T
    inside: Bools = (area[:, None] >= low) & (area[:, None] <= high)
    return inside


def overlapping_pairs(
    boxes: Floats, targets: TargetColumns, group: Ints, target_group: Ints, threshold: float
) -> tuple[Pairs, Floats, NDArray[np.int32], Floats]:
    """List the pairs of one group that reach the threshold, with each row's best IoU, its target and its crowd share.

    Args:
        boxes: (N, 4) xywh.
        targets: M targets.
        group: (N,) what may match, an image or a class of it.
        target_group: (M,) the same for targets.
        threshold: Lowest overlap of a pair.

    Examples:
        >>> targets = bw.evaluate.to_targets([{"boxes": [[0, 0, 10, 10]], "labels": [0]}])
        >>> group = np.array([0])
        >>> pairs, best, *_ = bw.evaluate.overlapping_pairs(np.array([[0.0, 0, 10, 8]]), targets, group, group, 0.5)
        >>> best
        array([0.8])
    """
    iou, crowd_overlap = np.zeros(len(group)), np.zeros(len(group))
    nearest = np.full(len(group), -1, np.int32)
    kept: list[Pairs] = []
    for rows, starts, row, target in meetings(group, target_group):
        crowd = targets.crowd[target]
        share = overlap(boxes[row], targets.xywh[target], crowd)
        crowd_overlap[rows] = np.maximum.reduceat(np.where(crowd, share, 0.0), starts)
        iou[rows], nearest[rows] = best_in_runs(np.where(crowd, 0.0, share), target, starts)
        near = share >= min(threshold, 1 - 1e-10)
        kept.append(Pairs(row, target, share).take(near))
    if not kept:
        kept.append(Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)))
    return Pairs(*map(np.concatenate, zip(*kept, strict=True))), iou, nearest, crowd_overlap


def _choose(
    pairs: Pairs, group: Ints, crowd: Bools, counted: Bools, outside: Bools, thresholds: Floats
) -> tuple[Bools, Bools, NDArray[np.int32]]:
    """Let the detections choose in rounds: the k-th of every image and class at once, for all thresholds and areas.

    A pair's worth is an integer that ranks a detection's pairs: counted targets first, then overlap, then the later
    target. The best free pair is then a maximum, and pair and kind are recovered from it.
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
    """Yield for each round the pairs of the detections that choose in it, and where each detection's pairs start.

    Pairs come by rising row, and rows of a group by falling score. A round has at most one detection per group.
    """
    rows, counts = np.unique(row, return_counts=True)
    turn = np.repeat(_rank_in_groups(group[rows]), counts)
    order = np.argsort(turn, kind="stable")
    ends = np.flatnonzero(np.diff(turn[order], append=-1)) + 1
    for part in np.split(order, ends[:-1]) if len(order) else ():
        yield part, np.flatnonzero(np.diff(row[part], prepend=-1))
