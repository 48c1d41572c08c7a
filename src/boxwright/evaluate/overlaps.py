"""Overlaps of detections with the targets of their image, in parts that bound the memory.

Shape shorthand: N detections, M targets, R detections and P pairs of a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate.columns import Bools, Floats, Ints

_PAIRS_AT_ONCE = 50_000  # bounds the memory of the overlaps and keeps them in the cache


class Meetings(NamedTuple):
    """Pairs of detections and targets of one group; each detection's pairs form a run."""

    rows: Ints
    """(R,) detections with a target, rising."""
    starts: Ints
    """(R,) where the run of each starts."""
    row: Ints
    """(P,) the detection of each pair."""
    target: Ints
    """(P,) its target, rising in a run."""


def meetings(group: Ints, target_group: Ints) -> Iterator[Meetings]:
    """Yield all pairs of equal group, in parts of about 50,000.

    Args:
        group: (N,) group of each detection: its image, or its image and class.
        target_group: (M,) group of each target.
    """
    by_group = np.argsort(target_group, kind="stable")
    first = np.searchsorted(target_group[by_group], group, side="left")
    counts = np.searchsorted(target_group[by_group], group, side="right") - first
    for rows in _parts(counts):
        count = counts[rows]
        starts = np.cumsum(count) - count
        row = np.repeat(rows, count)
        target = by_group[np.arange(len(row)) + np.repeat(first[rows] - starts, count)]
        yield Meetings(rows, starts, row, target)


def overlap(boxes: Floats, others: Floats, crowd: Bools | None = None) -> Floats:
    """Compute the IoU (P,) of xywh boxes (P, 4), or intersection / area of the box where the other is a ``crowd``.

    The order of operations is the reference's.
    """
    low = np.maximum(boxes[:, :2], others[:, :2])
    sides = np.maximum(np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:]) - low, 0.0)
    intersection = sides[:, 0] * sides[:, 1]
    area = boxes[:, 2] * boxes[:, 3]
    union = area + others[:, 2] * others[:, 3] - intersection
    if crowd is not None:
        union = np.where(crowd, area, union)
    share: Floats = np.divide(intersection, union, out=np.zeros(len(boxes)), where=intersection > 0)
    return share


def best_in_runs(values: Floats, target: Ints, starts: Ints) -> tuple[Floats, NDArray[np.int32]]:
    """Find the highest value of each run (R,) and its target: the first on ties, -1 where the value is 0."""
    best = np.maximum.reduceat(values, starts)
    run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    found = np.full(len(starts), -1, np.int32)
    places = np.flatnonzero((values > 0) & (values == best[run]))[::-1]
    found[run[places]] = target[places]  # of repeated runs the last one written stays: the first target
    return best, found


def _parts(counts: Ints) -> Iterator[Ints]:
    """Split the rows that have a target into runs of about `_PAIRS_AT_ONCE` pairs."""
    rows = np.flatnonzero(counts)
    if len(rows):
        part = np.cumsum(counts[rows]) // _PAIRS_AT_ONCE
        yield from np.split(rows, np.flatnonzero(np.diff(part)) + 1)
