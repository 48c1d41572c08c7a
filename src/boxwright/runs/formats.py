"""Detections as the files of labeling tools, which boxwright's own readers read back: YOLO, VOC, TensorFlow's CSV.

Corners in VOC and CSV are edges in pixels counted from 0, with every digit of a float32. Boxes without an area are none
of an annotation: they are left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from boxwright._util.ownership import MADE_BY
from boxwright._util.reading import escaped
from boxwright.bridges import Found

CSV_COLUMNS = (
    "filename",
    "width",
    "height",
    "class",
    "xmin",
    "ymin",
    "xmax",
    "ymax",
    "score",
    "image_id",
    "frame",
    "seconds",
)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


class Picture(NamedTuple):
    """Image as its annotation describes it."""

    name: str
    """Path below the folder of the images, with forward slashes."""
    size: tuple[int, int]
    """(H, W)."""


def yolo_text(found: Found, size: tuple[int, int]) -> str:
    """Format one line per box: label, center, width and height as fractions of the image's ``size`` (H, W)."""
    height, width = size
    labels, corners, _ = _with_area(found)
    shares = corners.astype(np.float64) / (width, height, width, height)
    rows = np.concatenate([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]], axis=1)
    return "".join(f"{label} {' '.join(f'{x:.9f}' for x in row)}\n" for label, row in zip(labels, rows, strict=True))


def class_names(classes: Sequence[str]) -> str:
    """Format a classes.txt: one name per line."""
    return "".join(f"{_BREAKS.sub(' ', escaped(name))}\n" for name in classes)


def voc_text(found: Found, picture: Picture, classes: Sequence[str]) -> str:
    """Format the XML of an image, with each box's score, which readers of VOC ignore."""
    height, width = picture.size
    labels, corners, scores = _with_area(found)
    lines = [
        f"<!-- {MADE_BY} -->",
        "<annotation>",
        f"  <filename>{_xml(picture.name)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for label, box, score in zip(labels, corners, scores, strict=True):
        sides = "".join(f"<{side}>{x!s}</{side}>" for side, x in zip(CSV_COLUMNS[4:8], box, strict=True))
        lines += [
            "  <object>",
            f"    <name>{_xml(classes[label])}</name>",
            f"    <difficult>0</difficult><score>{score!s}</score>",
            f"    <bndbox>{sides}</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>\n"])


def csv_rows(
    found: Found, picture: Picture, classes: Sequence[str], rest: tuple[object, object, object]
) -> Iterator[list[object]]:
    """Make one row per box; ``rest`` is the image's id, and for a frame its number and second."""
    height, width = picture.size
    labels, corners, scores = _with_area(found)
    for label, box, score in zip(labels, corners, scores, strict=True):
        yield [escaped(picture.name), width, height, escaped(classes[label]), *map(str, box), str(score), *rest]


def csv_line(cells: Sequence[object]) -> bytes:
    """Format one line of a CSV file in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue().encode()


def _with_area(found: Found) -> tuple[list[int], NDArray[np.float32], Any]:
    """Labels, corners (n, 4) and scores (n,) of the boxes with an area, by falling score."""
    corners = np.asarray(found.boxes, np.float32).reshape(-1, 4)
    kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    labels, scores = np.asarray(found.labels, np.int64), np.asarray(found.scores, np.float32)
    return labels[kept].tolist(), corners[kept], scores[kept]


def _xml(text: str) -> str:
    """Text for an XML file: characters that XML can't have are spaces."""
    return escape(_NOT_IN_XML.sub(" ", escaped(text)))
