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


def box_faults(table: Annotations, placed: Placed, sizes: NDArray[np.int32]) -> list[Fault]:
    """Errors and warnings of the boxes of a table, placed in images of ``sizes`` (n, 2)."""
    wrong = np.flatnonzero(placed.fault != SOUND).tolist()
    faults = [box_fault(table, row, int(placed.fault[row])) for row in wrong]
    for kind, rows, text in _shapes(table, placed, sizes):
        found = np.flatnonzero(rows & (placed.fault == SOUND)).tolist()
        faults += [fault_at(table, row, kind, text.format(**_words(placed, row))) for row in found]
    return faults + _duplicates(table, placed)


def _shapes(table: Annotations, placed: Placed, sizes: NDArray[np.int32]) -> list[tuple[str, NDArray[np.bool_], str]]:
    """Kind, which boxes, and the message for it."""
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
    """Pairs of boxes of an image that all but coincide, told at the later one; crowds may overlap."""
    faults = []
    rows = np.flatnonzero((placed.fault == SOUND) & (table.code != CROWD))
    rows = rows[np.argsort(table.image[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(table.image[rows], prepend=-1))
    for group in np.split(rows, starts[1:]):
        if len(group) < 2:
            continue
        first, second, iou = overlapping_pairs(placed.boxes[group].astype(np.float64), DUPLICATE_IOU)
        for i, j, value in zip(group[first].tolist(), group[second].tolist(), iou.tolist(), strict=True):
            same = table.labels[i] == table.labels[j]
            names = table.classes[table.labels[j]] + ("" if same else f" and {table.classes[table.labels[i]]}")
            text = f"IoU {value:.3f} with box {table.number[i]} ({names})"
            faults.append(fault_at(table, j, "duplicate-box" if same else "duplicate-box-two-classes", text))
    return faults


def overlapping_pairs(
    boxes: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs i < j of boxes (g, 4) xyxy with at least this IoU, and the IoU."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    iou = shared / (area[:, None] + area[None, :] - shared)
    first, second = np.nonzero(np.triu(iou >= threshold, 1))
    return first, second, iou[first, second]
