"""What is wrong with single boxes, and with pairs of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boxwright.data.annotations import CROWD, SOUND, Annotations, Fault, Placed, box_fault, fault_at
from boxwright.data.reading import ROUNDING

SMALL_SIDE = 4.0
EXTREME_ASPECT = 10.0
WHOLE_IMAGE = 0.98
DUPLICATE_IOU = 0.9
_BLOCK = 64


def box_faults(table: Annotations, placed: Placed, sizes: NDArray[np.int32]) -> list[Fault]:
    """Find errors and warnings of the boxes of a table, placed in images of ``sizes`` (n, 2)."""
    wrong = np.flatnonzero(placed.fault != SOUND).tolist()
    faults = [box_fault(table, row, int(placed.fault[row])) for row in wrong]
    for kind, rows, text in _shapes(table, placed, sizes):
        found = np.flatnonzero(rows & (placed.fault == SOUND)).tolist()
        faults += [fault_at(table, row, kind, text.format(**_words(placed, row))) for row in found]
    return faults + _duplicates(table, placed)


def _shapes(table: Annotations, placed: Placed, sizes: NDArray[np.int32]) -> list[tuple[str, NDArray[np.bool_], str]]:
    """Yield kinds of faults with the boxes that have them and their messages."""
    sides = placed.boxes[:, 2:].astype(np.float64) - placed.boxes[:, :2]
    image_area = sizes.astype(np.float64).prod(1)[table.image]
    with np.errstate(invalid="ignore", divide="ignore"):
        aspect = sides.max(1, initial=0) / sides.min(1, initial=np.inf)
        return [
            ("partly-outside", placed.overhang > ROUNDING, "leaves the image by {overhang:.1f} px"),
            (
                "small-box",
                (sides < SMALL_SIDE).any(1),
                f"a side under {SMALL_SIDE:g} px: {{width:.1f}} x {{height:.1f}}",
            ),
            ("extreme-aspect", aspect >= EXTREME_ASPECT, "{width:.1f} x {height:.1f} px"),
            (
                "whole-image-box",
                (image_area > 0) & (sides.prod(1) >= WHOLE_IMAGE * image_area),
                f"covers at least {WHOLE_IMAGE:.0%} of the image",
            ),
        ]


def _words(placed: Placed, row: int) -> dict[str, float]:
    left, top, right, bottom = placed.boxes[row].tolist()
    return {"width": right - left, "height": bottom - top, "overhang": float(placed.overhang[row])}


def _duplicates(table: Annotations, placed: Placed) -> list[Fault]:
    """Find boxes that nearly coincide with an earlier box of their image, and name the first of those.

    Crowds may overlap.
    """
    faults = []
    rows = np.flatnonzero((placed.fault == SOUND) & (table.code != CROWD))
    rows = rows[np.argsort(table.image[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(table.image[rows], prepend=-1))
    for group in np.split(rows, starts[1:]):
        if len(group) < 2:
            continue
        first, second, iou = first_twins(placed.boxes[group].astype(np.float64), DUPLICATE_IOU)
        for i, j, value in zip(group[first].tolist(), group[second].tolist(), iou.tolist(), strict=True):
            same = table.labels[i] == table.labels[j]
            names = table.classes[table.labels[j]] + ("" if same else f" and {table.classes[table.labels[i]]}")
            text = f"IoU {value:.3f} with box {table.number[i]} ({names})"
            faults.append(fault_at(table, j, "duplicate-box" if same else "duplicate-box-two-classes", text))
    return faults


def first_twins(
    boxes: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Find, for each box j (g, 4) xyxy, the first i < j with at least this IoU: all i, all j, the IoUs.

    It works in blocks of i, against the j that have no twin yet and whose edge is near enough, so that neither many
    boxes nor many copies cost much time or memory.
    """
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    twin, best = np.full(len(boxes), -1, np.int64), np.zeros(len(boxes))
    orders = [np.argsort(boxes[:, axis], kind="stable") for axis in (0, 1)]
    for start in range(0, len(boxes), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(boxes)))
        first, second = min((_near(boxes, rows, orders[axis], axis, twin, threshold) for axis in (0, 1)), key=_length)
        low = np.maximum(boxes[first, :2], boxes[second, :2])
        shared = np.clip(np.minimum(boxes[first, 2:], boxes[second, 2:]) - low, 0, None).prod(1)
        iou = shared / (area[first] + area[second] - shared)
        # backwards, so that the first i is written last
        hits = np.flatnonzero((iou >= threshold) & (first < second))[::-1]
        twin[second[hits]], best[second[hits]] = first[hits], iou[hits]
    found = np.flatnonzero(twin >= 0)
    return twin[found], found, best[found]


def _near(
    boxes: NDArray[np.float64],
    rows: NDArray[np.int64],
    order: NDArray[np.int64],
    axis: int,
    twin: NDArray[np.int64],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List pairs of ``rows`` and boxes without a twin whose left (upper) edges are as near as this IoU requires.

    The IoU is at most the ratio of the shared side to the longer one, so edges differ by at most (1 - IoU) of the side
    of the box that begins first.
    """
    order = order[twin[order] < 0]
    edges, begin = boxes[order, axis], boxes[rows, axis]
    slack = (1 - threshold) / threshold * (boxes[rows, axis + 2] - begin) * (1 + 1e-9)
    low, high = np.searchsorted(edges, begin - slack), np.searchsorted(edges, begin + slack, side="right")
    counts = high - low
    starts = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return np.repeat(rows, counts), order[starts + np.arange(counts.sum())]


def _length(pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> int:
    return len(pairs[0])
