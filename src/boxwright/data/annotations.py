"""The content of a data set's files before anything is left out: the table that every reader fills.

Reading (``dataset.py``) drops what is erroneous and checking (``boxwright.check``) reports it; both judge by
``place``, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL = 0
"""Flag of a box that is one object like any other."""
CROWD = 1
"""Flag of a box around many objects, COCO's iscrowd: detections in it are neither right nor wrong."""
DIFFICULT = 2
"""Flag of an object that VOC marks difficult: finding it is neither right nor wrong."""

SOUND, BAD_NUMBER, INVERTED, ZERO_AREA, OUTSIDE, BAD_LABEL = range(6)
BOX_FAULTS = ("", "bad-number", "inverted-box", "zero-area", "outside-box", "label-out-of-range")


class Fault(NamedTuple):
    """Something wrong with a file, or with one box of it."""

    kind: str
    file: str
    """Relative to the data set: the annotation file, or the image for a fault of the image."""
    box: int | None
    """0-based place of the box in its annotation file."""
    message: str


@dataclass
class Annotations:
    """n images, ordered by name unless the data orders them, and m boxes, image by image; faulty boxes are in here."""

    root: Path
    layout: str
    classes: tuple[str, ...]
    category_ids: NDArray[np.int64]
    names: list[str]
    paths: list[str]
    """Image files relative to ``root``."""
    files: list[str]
    """Annotation file of each image, relative to ``root``."""
    there: NDArray[np.bool_]
    """(n,) whether the image file exists."""
    sizes: NDArray[np.int32]
    """(n, 2) height and width; 0 where unknown."""
    image_ids: NDArray[np.int64]
    image: NDArray[np.int64]
    """(m,) row of the box's image."""
    number: NDArray[np.int64]
    """(m,) 0-based place of the box in its annotation file."""
    xyxy: NDArray[np.float64]
    """(m, 4) corners."""
    xywh: NDArray[np.float64]
    """(m, 4) corner and size, as COCO writes them."""
    labels: NDArray[np.int64]
    code: NDArray[np.uint8]
    areas: NDArray[np.float64]
    annotation_ids: NDArray[np.int64]
    fault: NDArray[np.uint8]
    """(m,) index into ``BOX_FAULTS``, judged on the numbers as written."""
    splits: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Rows of the images of each split that was read."""
    faults: list[Fault] = field(default_factory=list)
    """Files and images that are not in the table."""
    notes: list[Fault] = field(default_factory=list)
    """Oddities that leave nothing out."""
    accounted: set[str] = field(default_factory=set)
    """Files of images and annotations that are not in the table because a fault or a note says so."""
    fractions: bool = False
    """Whether boxes are written as fractions of the image; ``sizes`` are then the upright images' own."""
    shared_files: bool = False
    """Whether an annotation file has many images."""


class Placed(NamedTuple):
    """Boxes placed in their images."""

    boxes: NDArray[np.float32]
    """(m, 4) xyxy, clipped to the image where its size is known."""
    fault: NDArray[np.uint8]
    """(m,) index into ``BOX_FAULTS``."""
    overhang: NDArray[np.float64]
    """(m,) pixels by which the box as written leaves the image, 0 where it doesn't."""


def geometry_faults(extent: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Find faults (m,) by width and height as written (m, 2), and by all four numbers (m, 4), NaN if unreadable."""
    width, height = extent.T
    fault = np.full(len(extent), SOUND, np.uint8)
    with np.errstate(invalid="ignore"):
        fault[(width == 0) | (height == 0)] = ZERO_AREA
        fault[(width < 0) | (height < 0)] = INVERTED
    fault[~_all_of(np.isfinite(numbers))] = BAD_NUMBER
    return fault


def place(table: Annotations, sizes: NDArray[np.int32]) -> Placed:
    """Clip the boxes of a table to images of ``sizes`` (n, 2) and find those outside."""
    fault, xyxy = table.fault.copy(), table.xyxy
    known = (sizes[:, :1] > 0) & (sizes[:, 1:] > 0)  # (n, 1)
    limit = np.where(known, sizes[:, ::-1], np.inf).take(table.image, 0)
    low = np.where(known, 0.0, -np.inf).take(table.image, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        inside = np.clip(xyxy, low, np.concatenate([limit, limit], 1))
        boxes = inside.astype(np.float32)
        over = np.abs(xyxy - inside)
        over = np.maximum(over[:, :2], over[:, 2:])
        overhang = np.maximum(over[:, 0], over[:, 1])
        gone = ~_all_of((xyxy[:, :2] < limit) & (xyxy[:, 2:] > low)) & known[:, 0].take(table.image)
        vanished = ~_all_of(boxes[:, 2:] > boxes[:, :2])
    fault[(fault == SOUND) & gone] = OUTSIDE
    fault[(fault == SOUND) & ~_all_of(np.isfinite(boxes))] = BAD_NUMBER  # too large for float32
    fault[(fault == SOUND) & vanished] = ZERO_AREA  # narrower than float32 can tell
    return Placed(boxes, fault, np.where(fault == SOUND, overhang, 0.0))


def _all_of(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell whether all flags of a row are set; numpy's own ``all`` takes ten times as long on short rows."""
    while flags.shape[1] > 1:
        flags = flags[:, ::2] & flags[:, 1::2]
    return flags[:, 0]


def hopeless(table: Annotations, placed: Placed) -> NDArray[np.int64]:
    """Find the rows of images that have boxes, none of them usable: these images are not background."""
    count = len(table.names)
    written = np.bincount(table.image, minlength=count)
    sound = np.bincount(table.image[placed.fault == SOUND], minlength=count)
    return np.flatnonzero((written > 0) & (sound == 0))


def hopeless_fault(table: Annotations, row: int) -> Fault:
    """Describe the fault of such an image."""
    count = int((table.image == row).sum())
    boxes = "its only box can't" if count == 1 else f"none of its {count} boxes can"
    return Fault("no-usable-box", table.paths[row], None, f"{boxes} be used, so the image is left out")


def erroneous_regions(
    table: Annotations, placed: Placed, sizes: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the rows of erroneous boxes that cover part of their image, and what they cover, (r, 4) xyxy.

    These are boxes of unknown class, and with swapped sides. The image's size must be known.
    """
    known: NDArray[np.bool_] = np.all(sizes > 0, axis=1)
    wrong = (placed.fault == BAD_LABEL) | (placed.fault == INVERTED)
    rows = np.flatnonzero(wrong & known[table.image])
    sides = table.xyxy[rows].reshape(-1, 2, 2)
    corners = np.concatenate([sides.min(1), sides.max(1)], 1)
    boxes = np.clip(corners, 0, sizes[table.image[rows]][:, [1, 0, 1, 0]]).astype(np.float32)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return rows[kept], boxes[kept]


def image_order(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort boxes by image, keeping the order within each image; ``image`` (m,) is the row of each box's image.

    It equals a stable argsort, which takes five times as long.
    """
    keys = image * len(image) + np.arange(len(image))
    keys.sort()
    return keys % max(len(image), 1)


_IMAGE_COLUMNS = ("there", "sizes", "image_ids")
_BOX_COLUMNS = ("number", "xyxy", "xywh", "labels", "code", "areas", "annotation_ids", "fault")


def select(table: Annotations, rows: NDArray[np.int64]) -> Annotations:
    """Select images of a table, in this order, with their boxes; ``splits`` is emptied."""
    place = np.full(len(table.names), -1, np.int64)
    place[rows] = np.arange(len(rows))
    image = place[table.image]
    boxes = np.flatnonzero(image >= 0)
    boxes = boxes[image_order(image[boxes])]
    lists: dict[str, Any] = {key: [getattr(table, key)[row] for row in rows] for key in ("names", "paths", "files")}
    columns: dict[str, Any] = {key: getattr(table, key)[rows] for key in _IMAGE_COLUMNS}
    columns |= {key: getattr(table, key)[boxes] for key in _BOX_COLUMNS}
    return replace(table, **lists, **columns, image=image[boxes], splits={})


def concatenate(tables: list[Annotations]) -> Annotations:
    """Concatenate tables; classes are the first one's."""
    starts = np.cumsum([0, *(len(table.names) for table in tables)])
    lists: dict[str, Any] = {
        key: [item for table in tables for item in getattr(table, key)]
        for key in ("names", "paths", "files", "faults", "notes")
    }
    columns: dict[str, Any] = {
        key: np.concatenate([getattr(table, key) for table in tables]) for key in (*_IMAGE_COLUMNS, *_BOX_COLUMNS)
    }
    image = np.concatenate([table.image + start for table, start in zip(tables, starts, strict=False)])
    accounted = set().union(*(table.accounted for table in tables))
    return replace(tables[0], **lists, **columns, image=image, splits={}, accounted=accounted)


def box_fault(table: Annotations, row: int, fault: int) -> Fault:
    """Describe the fault of one box in words."""
    numbers = "({:g}, {:g}, {:g}, {:g})".format(*table.xyxy[row])
    message = {
        BAD_NUMBER: "its numbers can't be read, or are not finite",
        INVERTED: f"right is left of left, or bottom above top: {numbers}",
        ZERO_AREA: f"no area: {numbers}",
        OUTSIDE: f"wholly outside its image: {numbers}",
        BAD_LABEL: "its class is none of the data set's",
    }[fault]
    return fault_at(table, row, BOX_FAULTS[fault], message)


def fault_at(table: Annotations, row: int, kind: str, message: str) -> Fault:
    """Build the fault of one box, naming the image if the annotation file holds many."""
    image = int(table.image[row])
    where = f"{table.names[image]}: " if table.shared_files else ""
    return Fault(kind, table.files[image], int(table.number[row]), where + message)


@dataclass
class Builder:
    """Fills a table one image and one box at a time."""

    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    there: list[bool] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    boxes: list[tuple[int, int, tuple[float, ...], tuple[float, ...], tuple[float, ...], int, int]] = field(
        default_factory=list
    )
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    accounted: set[str] = field(default_factory=set)

    def leave_out(self, kind: str, file: str, message: str, *also: str) -> None:
        """Record why a file, and everything that belongs to it, is not in the table."""
        self.faults.append(Fault(kind, file, None, message))
        self.accounted.update(also)

    def note(self, kind: str, file: str, message: str) -> None:
        """Record an oddity that leaves nothing out."""
        self.notes.append(Fault(kind, file, None, message))

    def add_image(self, name: str, file: str, size: tuple[int, int], there: bool) -> None:
        """Add an image (path relative to the data set), to which the next boxes belong."""
        self.names.append(name)
        self.files.append(file)
        self.there.append(there)
        self.sizes.append(size)

    def add_box(
        self, number: int, xyxy: tuple[float, ...], extent: tuple[float, float], label: int, code: int = NORMAL
    ) -> None:
        """Add a box of the last image; ``extent`` is width and height as written, ``label`` -1 if it has no class."""
        xywh = (xyxy[0], xyxy[1], xyxy[2] - xyxy[0], xyxy[3] - xyxy[1])
        self.boxes.append((len(self.names) - 1, number, xyxy, xywh, extent, label, code))

    def build(self, root: Path, layout: str, classes: tuple[str, ...]) -> Annotations:
        """Build the table; category ids are label + 1, image ids count from 1."""
        columns = list(zip(*self.boxes, strict=True)) or [()] * 7
        image, number, xyxy, xywh, extent, labels, code = map(np.asarray, columns)
        xyxy = xyxy.astype(np.float64).reshape(-1, 4)
        xywh = xywh.astype(np.float64).reshape(-1, 4)
        with np.errstate(invalid="ignore", over="ignore"):
            areas = xywh[:, 2] * xywh[:, 3]
        labels = labels.astype(np.int64)
        fault = geometry_faults(extent.astype(np.float64).reshape(-1, 2), xyxy)
        fault[(fault == SOUND) & ((labels < 0) | (labels >= len(classes)))] = BAD_LABEL
        return Annotations(
            root=root,
            layout=layout,
            classes=classes,
            category_ids=np.arange(1, len(classes) + 1),
            names=self.names,
            paths=self.names,
            files=self.files,
            there=np.array(self.there, np.bool_),
            sizes=np.array(self.sizes, np.int32).reshape(-1, 2),
            image_ids=np.arange(1, len(self.names) + 1),
            image=image.astype(np.int64),
            number=number.astype(np.int64),
            xyxy=xyxy,
            xywh=xywh,
            labels=labels,
            code=code.astype(np.uint8),
            areas=areas,
            annotation_ids=np.arange(1, len(labels) + 1),
            fault=fault,
            faults=self.faults,
            notes=self.notes,
            accounted=self.accounted,
        )
