"""How the pictures of a data set are read: what the options leave open, their files settle.

Reading and checking both call ``settle``, so they can't disagree.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.data.annotations import SOUND, Annotations
from boxwright.data.depth import Range, sample, span
from boxwright.data.formats import is_plain_jpeg
from boxwright.data.images import Header, PixelRule, deep_values, read_header
from boxwright.data.readers.reader import Reader
from boxwright.data.upright import Exif, turn_boxes
from boxwright.errors import DataError

MOST_HEADERS = 1000
"""Images of which each one's header is read."""
SPREAD = 500
"""Images of a larger data set, evenly spread, that are checked first; the others only if one of these is turned."""
RANGE_IMAGES = 64
"""Training images that the data set's own range is taken from."""
_VALUES = 40_000  # of each of these
_ROUNDING = 1.0  # pixels by which a box may leave its image
_CHUNK = 64  # headers that a thread reads at a time


class Settled(NamedTuple):
    """Rules for reading the pictures of a table."""

    rule: PixelRule
    turned: NDArray[np.bool_]
    """(n,) whether the image's boxes, drawn on the pixels as stored, were turned."""


class Headers(NamedTuple):
    """Headers of the n images of a table; 0, 1 and False where one can't be read."""

    sizes: NDArray[np.int32]
    """(n, 2) height and width as stored."""
    orientation: NDArray[np.int32]
    deep: NDArray[np.bool_]

    @classmethod
    def unread(cls, count: int) -> Headers:
        """Make headers of ``count`` images, to be filled."""
        return cls(np.zeros((count, 2), np.int32), np.ones(count, np.int32), np.zeros(count, np.bool_))

    def put(self, row: int, header: Header) -> None:
        """Fill in what is known of an image."""
        self.sizes[row], self.orientation[row], self.deep[row] = header


def settle(reader: Reader, table: Annotations, asked: PixelRule, headers: Headers | None = None) -> Settled:
    """Turn the boxes of a table that need it, and say by which rule its images are decoded.

    Sizes of images that EXIF turns become those of the decoded pixels. The range of deep pixels is that of the data
    set's training images, whatever the table holds. ``headers``: None to read them.
    """
    if headers is None and asked.exif == "apply" and asked.depth_range != "data":
        return Settled(asked, np.zeros(len(table.names), np.bool_))
    every = asked.exif is not None  # else a data set refuses the image that was missed and is turned
    headers = headers or read_headers(table.root, table.paths, table.there, asked.max_pixels, every)
    limits = data_range(reader, table, asked.max_pixels) if asked.depth_range == "data" and headers.deep.any() else None
    rule = replace(asked, depth_range=_as_text(limits)) if limits else asked
    exif, turned = _whose_boxes(table, headers, asked.exif)
    quarter = headers.orientation >= 5
    if table.fractions:
        _take_as_stored(table, headers, quarter & (turned | (not rule.upright)))
    _turn(table, headers, turned)
    table.sizes[quarter] = headers.sizes[quarter, ::-1] if rule.upright else headers.sizes[quarter]
    return Settled(replace(rule, exif=exif), turned)


def read_headers(
    root: Path, paths: Sequence[str], there: NDArray[np.bool_], max_pixels: int | None = None, every: bool = False
) -> Headers:
    """Read the headers of images that are there and may be turned or deep; ``every``: of a large data set's, too."""
    found = Headers.unread(len(paths))
    rows = np.flatnonzero(there)
    if len(rows) > MOST_HEADERS and not every:
        first = _spread(rows, SPREAD)
        _read_some(root, paths, first, found, max_pixels)
        if (found.orientation == 1).all():
            return found
        rows = np.setdiff1d(rows, first)
    _read_some(root, paths, rows, found, max_pixels)
    return found


def _read_some(
    root: Path, paths: Sequence[str], rows: NDArray[np.int64], found: Headers, max_pixels: int | None
) -> None:
    def read(chunk: list[int]) -> None:
        for row in chunk:
            header = _try_header(f"{root}{os.sep}{paths[row]}", max_pixels)
            if header is not None:
                found.put(row, header)

    chunks = [rows[start : start + _CHUNK].tolist() for start in range(0, len(rows), _CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(read, chunks))


def _try_header(path: str, max_pixels: int | None) -> Header | None:
    """Read the header of an image that may be turned or deep; None for others."""
    try:
        return None if is_plain_jpeg(path) else read_header(path, max_pixels)
    except (DataError, OSError):  # decoding meets and reports it again
        return None


def data_range(reader: Reader, table: Annotations, max_pixels: int | None = None) -> Range | None:
    """Return the range of the training images' pixels of more than 8 bits: percentiles over some, evenly spread.

    None where there are none, or all their values are equal.
    """
    table = table if "train" in table.splits else reader.read(("train",) if "train" in reader.splits else ())
    rows = np.flatnonzero(table.there)
    rows = np.intersect1d(rows, table.splits.get("train", rows))
    there = np.isin(np.arange(len(table.paths)), rows)
    deep = np.flatnonzero(read_headers(table.root, table.paths, there, max_pixels).deep)
    values = []
    for row in _spread(deep, RANGE_IMAGES).tolist():
        try:
            values.append(sample(deep_values(table.root / table.paths[row], max_pixels), _VALUES))
        except DataError:
            continue
    return span(np.concatenate(values)[:, None]) if values else None


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _as_text(limits: Range) -> str:
    short = "{:.6g},{:.6g}".format(*limits)
    low, high = short.split(",")
    return short if float(low) < float(high) else f"{limits[0]!r},{limits[1]!r}"


def _whose_boxes(table: Annotations, headers: Headers, asked: Exif | None) -> tuple[Exif | None, NDArray[np.bool_]]:
    """Which images have boxes that were drawn on the pixels as stored, and what "exif" that comes to.

    By default those whose annotated size is the stored one and not the upright one, and then also those whose sizes
    don't tell; unless more boxes fit the upright image alone than the stored one alone. Where no box tells, COCO's
    are upright: the tools that write it draw upright and take the size from the file's header.
    """
    turned = headers.orientation != 1
    quarter: NDArray[np.bool_] = (headers.orientation >= 5) & (headers.sizes[:, 0] != headers.sizes[:, 1])
    upright = np.where(headers.orientation[:, None] >= 5, headers.sizes[:, ::-1], headers.sizes)
    if table.fractions:
        quarter = np.zeros_like(quarter)  # no size is annotated
    says_upright = quarter & (table.sizes == upright).all(1)
    if asked is not None:
        return asked, turned & ~says_upright & (asked == "boxes")
    says_stored = quarter & (table.sizes == headers.sizes).all(1)
    if not says_stored.any():
        return None, says_stored
    fits_stored, fits_upright = (_fits(table, sizes) for sizes in (headers.sizes, upright))
    telling = says_stored[table.image] & (table.fault == SOUND) & (fits_stored != fits_upright)
    votes = int(np.where(fits_stored[telling], 1, -1).sum())
    if votes < 0 or (votes == 0 and table.layout == "coco"):
        return "apply", np.zeros_like(turned)
    return "boxes", turned & ~says_upright


def _fits(table: Annotations, sizes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(m,) whether each box is within an image of ``sizes`` (n, 2)."""
    limits = sizes[table.image][:, [1, 0, 1, 0]] + _ROUNDING
    inside: NDArray[np.bool_] = np.all((table.xyxy >= -_ROUNDING) & (table.xyxy <= limits), axis=1)
    return inside


def _take_as_stored(table: Annotations, headers: Headers, rows: NDArray[np.bool_]) -> None:
    """Boxes that were written as fractions become pixels of the stored image, not of the upright one."""
    boxes = rows[table.image]
    height, width = headers.sizes[table.image[boxes]].astype(np.float64).T
    factors = np.stack([width / height, height / width] * 2, axis=1)
    table.xyxy[boxes] *= factors
    table.xywh[boxes] *= factors


def _turn(table: Annotations, headers: Headers, rows: NDArray[np.bool_]) -> None:
    boxes = rows[table.image]
    images = table.image[boxes]
    orientation = headers.orientation[images]
    table.xyxy[boxes] = turn_boxes(table.xyxy[boxes], orientation, headers.sizes[images])
    extent = table.xywh[boxes, 2:]
    extent[orientation >= 5] = extent[orientation >= 5, ::-1]
    table.xywh[boxes] = np.concatenate([table.xyxy[boxes, :2], extent], axis=1)
