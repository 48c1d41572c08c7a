"""The columns of the table of a COCO file's boxes, each by one loop in C over all of them."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from boxwright.data.annotations import CROWD, DIFFICULT, NORMAL, Fault
from boxwright.data.readers.coco_images import CocoImages
from boxwright.data.readers.coco_json import CocoBox, CocoCategory, CocoFile


def owned_boxes(
    content: CocoFile, found: CocoImages, file: str
) -> tuple[list[CocoBox], NDArray[np.int64], NDArray[np.int64]]:
    """Select the boxes whose image is in the table, with their places in the file and their images' rows."""
    boxes = content.annotations
    owners = map(attrgetter("image_id"), boxes)
    image = np.fromiter(map(found.rows.get, owners, repeat(-1)), np.int64, len(boxes))
    number = np.flatnonzero(image >= 0)
    for row in np.flatnonzero(image < 0).tolist():
        if boxes[row].image_id not in found.listed:
            text = f"its image_id{_spelled(boxes[row].image_id)} is not among the images"
            found.faults.append(Fault("orphan-label", file, row, text))
    return boxes if len(number) == len(boxes) else [boxes[row] for row in number], number, image[number]


def areas_of(boxes: list[CocoBox], order: NDArray[np.int64], xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Read areas (m,), computed from the boxes ``xywh`` where there is none."""
    try:
        areas = np.fromiter(map(attrgetter("area"), boxes), np.float64, len(boxes))[order]
    except TypeError:
        areas = np.array([np.nan if box.area is None else box.area for box in boxes], np.float64)[order]
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.isfinite(areas), areas, xywh[:, 2] * xywh[:, 3])


def codes_of(boxes: list[CocoBox]) -> NDArray[np.uint8]:
    """Read NORMAL, CROWD or DIFFICULT (m,) from flags that few files set."""
    codes = np.full(len(boxes), NORMAL, np.uint8)
    for name, code in (("ignore", DIFFICULT), ("difficult", DIFFICULT), ("iscrowd", CROWD)):
        if any(map(attrgetter(name), boxes)):
            codes[np.array(list(map(attrgetter(name), boxes)), np.bool_)] = code
    return codes


def ids_of(boxes: list[CocoBox]) -> NDArray[np.int64]:
    """Read ids (m,), 0 where there is none."""
    try:
        return np.fromiter(map(attrgetter("id"), boxes), np.int64, len(boxes))
    except TypeError:
        return np.array([box.id or 0 for box in boxes], np.int64)


def _spelled(number: int | None) -> str:
    return "" if number is None else f" {number}"


def labels_of(
    boxes: list[CocoBox], categories: list[CocoCategory], classes: dict[str, int], found: CocoImages
) -> NDArray[np.int64]:
    """Label of each box by the name of its category, -1 where it has none, or one of two."""
    places = {name: label for label, name in enumerate(classes)}
    names: dict[int, set[str]] = {}
    for category in categories:
        names.setdefault(category.id, set()).add(category.name)
    by_id: dict[int | None, int] = {
        number: places.get(next(iter(group)), -1) if len(group) == 1 else -1 for number, group in names.items()
    }
    for number, group in names.items():
        if len(group) > 1:
            text = f"category id {number} is that of {' and '.join(map(repr, sorted(group)))}: of which are its boxes?"
            found.faults.append(Fault("category-id-twice", found.file, None, text))
    for name, count in Counter(name for group in names.values() for name in group).items():
        if count > 1:
            ids = sorted(number for number, group in names.items() if name in group)
            text = f"category {name!r} is listed as {' and '.join(map(str, ids))}: they are one class"
            found.notes.append(Fault("listed-twice", found.file, None, text))
    used = map(attrgetter("category_id"), boxes)
    return np.fromiter(map(by_id.get, used, repeat(-1)), np.int64, len(boxes))
