"""The box around a COCO mask: polygons, or run lengths (RLE), column by column and background first.

The compressed form packs each length into characters of 5 bits, from "0" on, with a sixth for "more follows"; from the
fourth length on it holds the difference to the last but one. Source: the description of COCO's annotation format.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]

_NONE: Box = (math.nan,) * 4
_MOST = 2**40  # pixels; a longer run is no image's


def around_mask(segmentation: Any) -> Box:
    """Compute the box (x, y, width, height) around a mask; NaN if it is none."""
    try:
        if isinstance(segmentation, dict):
            return _around_runs(segmentation)
        if isinstance(segmentation, list):
            return _around_polygons(segmentation)
    except (TypeError, ValueError, LookupError, OverflowError):
        pass
    return _NONE


def _around_polygons(polygons: list[Any]) -> Box:
    flat = polygons if polygons and not isinstance(polygons[0], list) else [n for polygon in polygons for n in polygon]
    points = np.array(flat, np.float64)
    if len(points) < 4 or len(points) % 2:
        return _NONE
    x, y = points[::2], points[1::2]
    left, top = float(x.min()), float(y.min())
    return (left, top, float(x.max()) - left, float(y.max()) - top)


def _around_runs(mask: dict[str, Any]) -> Box:
    height, width = (int(side) for side in mask["size"])
    counts = mask["counts"]
    runs = np.array(_decoded(counts) if isinstance(counts, str) else counts, np.int64)
    if height <= 0 or not len(runs) or runs.min() < 0 or runs.max() > _MOST:
        return _NONE
    ends = np.cumsum(runs)
    if ends[-1] > height * width:
        return _NONE
    kept = runs[1::2] > 0
    first, last = ends[0::2][: len(ends) // 2][kept], ends[1::2][kept] - 1
    if not len(first):
        return _NONE
    across = (first // height != last // height).any()  # a run over several columns touches both ends
    left, right = int(first.min()) // height, int(last.max()) // height
    top, bottom = (0, height - 1) if across else (int((first % height).min()), int((last % height).max()))
    return (float(left), float(top), float(right - left + 1), float(bottom - top + 1))


def _decoded(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a run that is too long")
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
