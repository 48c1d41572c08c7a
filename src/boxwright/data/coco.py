"""COCO JSON: images, annotations and categories of a split in one file.

Decoded by msgspec into typed records, so segmentations and whatever else is there are skipped and never become Python
objects. A file that breaks the types somewhere is read again record by record, and what is broken becomes a fault.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from boxwright.data.annotations import (
    BAD_LABEL,
    CROWD,
    DIFFICULT,
    NORMAL,
    SOUND,
    Annotations,
    Builder,
    Fault,
    concatenate,
    geometry_faults,
    select,
)
from boxwright.data.files import State, Tree, join, stem
from boxwright.data.splits import canonical, is_split_name, without_years
from boxwright.errors import DataError

_NAN = float("nan")
_ROBOFLOW = "_annotations.coco.json"


class CocoImage(msgspec.Struct, gc=False):
    """One entry of ``images``."""

    id: int
    file_name: str
    height: float = 0
    width: float = 0


class CocoBox(msgspec.Struct, gc=False):
    """One entry of ``annotations``."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int | None = None
    area: float | None = None
    iscrowd: int | bool = 0
    ignore: int | bool = 0
    difficult: int | bool = 0


class CocoCategory(msgspec.Struct, gc=False):
    """One entry of ``categories``."""

    id: int
    name: str
    supercategory: str | None = None


class CocoFile(msgspec.Struct, gc=False):
    """The whole file."""

    images: list[CocoImage]
    annotations: list[CocoBox]
    categories: list[CocoCategory]


class _Outline(msgspec.Struct, gc=False):
    """Enough to know a COCO file and its classes; the rest is only scanned."""

    images: msgspec.Raw
    annotations: msgspec.Raw
    categories: list[CocoCategory]


class _Used(msgspec.Struct, gc=False):
    category_id: int


class _Usage(msgspec.Struct, gc=False):
    annotations: list[_Used]


class CocoReader:
    """Reads one JSON file for each split."""

    layout = "coco"

    def __init__(self, tree: Tree, files: dict[str, str], named: bool) -> None:
        self.tree = tree
        self.files = files
        """JSON file of each split; a single one that is no split has any key."""
        self.splits = tuple(files) if named else ()
        self._folders: dict[str, str] = {}

    @classmethod
    def detect(cls, tree: Tree) -> CocoReader | None:
        """The reader, where a JSON file in one of the usual places holds images, annotations and categories."""
        for group in _places(tree):
            files = [path for path in group if tree.state(path) == "there" and is_coco(tree, path)]
            if files:
                names = [_split_name(path) for path in files]
                short = without_years(names)
                named = len(files) > 1 or is_split_name(names[0])
                return cls(tree, {short[name]: path for name, path in zip(names, files, strict=True)}, named)
        return None

    def split_file(self, split: str) -> str:
        """The JSON file of a split."""
        return self.files[split]

    def read(self, splits: Sequence[str]) -> Annotations:
        """The images of these splits, each once; all for none. Classes are those of all splits."""
        wanted = [self.files[split] for split in splits] or list(self.files.values())
        faults: list[Fault] = []
        loaded = {}
        for path in wanted:
            try:
                loaded[path], broken = load_coco(tree_bytes(self.tree, path))
                faults += [Fault("bad-number", path, None, text) for text in broken]
            except DataError as error:
                faults.append(Fault("unreadable-annotation", path, None, f"JSON that can't be read: {error}"))
        classes = self._classes(loaded)
        tables = {path: self._table(path, content, classes) for path, content in loaded.items()}
        table = _union(self.tree, list(tables.values()), tuple(classes))
        rows = {path: row for row, path in enumerate(table.paths)}
        table.splits = {
            split: np.array(sorted({rows[name] for name in tables[path].paths}), np.int64)
            for split, path in self.files.items()
            if path in tables
        }
        table.faults = faults + table.faults
        return table

    def orphans(self) -> list[Fault]:
        """Images in a split's folder that its file doesn't list, and annotations of images that it doesn't."""
        table = self.read(())
        known = set(table.paths)
        folders = {posixpath.dirname(path) or "." for path in known}
        return [
            Fault("orphan-image", path, None, "is listed in no annotation file")
            for folder in sorted(folders)
            for name in self.tree.images(folder)
            if (path := join(folder, name)) not in known
        ]

    def _classes(self, loaded: dict[str, CocoFile]) -> dict[str, int]:
        """Category id of each class, in the order of the ids, over all splits; without unused super-categories."""
        declared: dict[str, CocoCategory] = {}
        for path in self.files.values():
            content = loaded.get(path)
            for category in content.categories if content else self._categories(path):
                declared.setdefault(category.name, category)
        ordered = sorted(declared.values(), key=lambda category: (category.id, category.name))
        parents = {category.supercategory for category in ordered if category.supercategory != category.name}
        suspects = {category.id for category in ordered if category.name in parents}
        unused = suspects - self._used(loaded) if suspects else set()
        return {category.name: category.id for category in ordered if category.id not in unused}

    def _categories(self, path: str) -> list[CocoCategory]:
        try:
            return msgspec.json.decode(tree_bytes(self.tree, path), type=_Outline).categories
        except msgspec.MsgspecError:
            return self._slowly(path).categories

    def _used(self, loaded: dict[str, CocoFile]) -> set[int]:
        used: set[int] = set()
        for path in self.files.values():
            boxes: Iterable[CocoBox | _Used]
            if path in loaded:
                boxes = loaded[path].annotations
            else:
                try:
                    boxes = msgspec.json.decode(tree_bytes(self.tree, path), type=_Usage).annotations
                except msgspec.MsgspecError:
                    boxes = self._slowly(path).annotations
            used.update(box.category_id for box in boxes)
        return used

    def _slowly(self, path: str) -> CocoFile:
        try:
            return load_coco(tree_bytes(self.tree, path))[0]
        except DataError:
            return CocoFile([], [], [])

    def _image_folder(self, file: str, names: list[str]) -> str:
        """The folder that holds most of the images, by a sample of their names."""
        if file not in self._folders:
            sample = names[:: max(1, len(names) // 50)]
            folders = _image_folders(file)

            def hits(folder: str) -> int:
                return sum(state == "there" for _, state in self.tree.locate(folder, sample))

            self._folders[file] = max(folders, key=hits)
        return self._folders[file]

    def _table(self, file: str, content: CocoFile, classes: dict[str, int]) -> Annotations:
        images, located, faults = self._images(file, content.images)
        rows = {image.id: row for row, image in enumerate(images)}
        boxes, number, image = _owned(content, rows, file, faults)
        xywh = np.array([box.bbox for box in boxes], np.float64).reshape(-1, 4)
        labels, fault = _labels(boxes, content.categories, classes)
        shape_fault = geometry_faults(xywh[:, 2:], xywh)
        areas = np.array([_NAN if box.area is None else box.area for box in boxes], np.float64)
        code = np.array([_code(box) for box in boxes], np.uint8)
        ids = np.array([0 if box.id is None else box.id for box in boxes], np.int64)
        order = np.argsort(image, kind="stable")
        sizes = np.array([(image.height, image.width) for image in images], np.float64).reshape(-1, 2)
        return Annotations(
            root=self.tree.root,
            layout=self.layout,
            classes=tuple(classes),
            category_ids=_own_ids(content.categories, classes),
            names=[image.file_name for image in images],
            paths=[path for path, _ in located],
            files=[file] * len(images),
            there=np.array([state == "there" for _, state in located], np.bool_),
            sizes=np.where((sizes > 0) & (sizes < 2**31), sizes, 0).astype(np.int32),
            image_ids=np.array([image.id for image in images], np.int64),
            image=image[order],
            number=number[order],
            xyxy=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)[order],
            xywh=xywh[order],
            labels=labels[order],
            code=code[order],
            areas=np.where(np.isfinite(areas), areas, xywh[:, 2] * xywh[:, 3])[order],
            annotation_ids=ids[order],
            fault=np.where(shape_fault == SOUND, fault, shape_fault)[order],
            faults=faults,
        )

    def _images(
        self, file: str, listed: list[CocoImage]
    ) -> tuple[list[CocoImage], list[tuple[str, State]], list[Fault]]:
        """The images that can be used (distinct ids and files, inside the folder), with path and state."""
        names = [image.file_name for image in listed]
        located = self.tree.locate(self._image_folder(file, names), names)
        kept: dict[int, tuple[CocoImage, tuple[str, State]]] = {}
        paths: set[str] = set()
        faults = []
        for image, (path, state) in zip(listed, located, strict=True):
            if image.id in kept or path in paths:
                text = f"image {image.id}, {image.file_name}: its id or its file is listed before"
                faults.append(Fault("listed-twice", file, None, text))
            elif state == "outside":
                faults.append(Fault("path-outside", file, None, f"{image.file_name} leaves the data set's folder"))
            else:
                kept[image.id] = image, (path, state)
                paths.add(path)
        return [image for image, _ in kept.values()], [place for _, place in kept.values()], faults


def _places(tree: Tree) -> Iterable[list[str]]:
    """JSON files in the usual places, most telling first."""
    folder = tree.folder(".", "annotations")
    inside = [join(folder, name) for name in tree.files(folder, ".json")] if folder else []
    instances = [path for path in inside if stem(path).startswith("instances")]
    yield instances or inside
    yield [
        path
        for name in sorted(tree.entries("."))
        if tree.is_folder(name) and tree.state(path := join(name, _ROBOFLOW)) == "there"
    ]
    yield tree.files(".", ".json")


def _split_name(path: str) -> str:
    folder, name = posixpath.split(path)
    return folder if name == _ROBOFLOW and folder else stem(name).removeprefix("instances_")


def _image_folders(file: str) -> list[str]:
    """Where the images of an annotation file may lie."""
    parent = posixpath.dirname(file) or "."
    if posixpath.basename(file) == _ROBOFLOW:
        return [parent, join(parent, "images"), "images", "."]
    full = _split_name(file)
    splits = dict.fromkeys([full, *without_years([full]).values(), *(["valid"] if canonical(full) == "val" else [])])
    below = [join(folder, split) for folder in ("images", ".") for split in splits]
    return [*below, *(join(split, "images") for split in splits), "images", "JPEGImages", parent, "."]


def tree_bytes(tree: Tree, path: str) -> bytes:
    """A JSON file's content without byte order mark."""
    return (tree.root / path).read_bytes().removeprefix(b"\xef\xbb\xbf")


def is_coco(tree: Tree, path: str) -> bool:
    """Whether a JSON file holds a split; one that can't be parsed does if its name is a split's."""
    data = tree_bytes(tree, path)
    try:
        msgspec.json.decode(data, type=_Outline)
    except msgspec.MsgspecError:
        if not data.lstrip().startswith(b"{"):
            return is_split_name(_split_name(path)) and not data.lstrip().startswith(b"[")
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return is_split_name(_split_name(path))
        return isinstance(content, dict) and all(
            isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
        )
    return True


def load_coco(data: bytes) -> tuple[CocoFile, list[str]]:
    """Decodes a COCO file; a box with numbers that can't be read gets NaN.

    Returns:
        The content, and what was said of images and categories that had to be dropped.

    Raises:
        DataError: where it is no JSON object with images, annotations and categories.
    """
    try:
        return msgspec.json.decode(data, type=CocoFile), []
    except msgspec.MsgspecError:
        pass
    try:
        content = json.loads(data)  # takes NaN and Infinity, and tells the line of an error
    except (ValueError, RecursionError) as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict):
        raise DataError("Expected an object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DataError(f"Expected a list of {key}")
    images = [_loose_image(entry) for entry in content["images"]]
    categories = [_loose_category(entry) for entry in content["categories"]]
    broken = [f"image {place} has no usable id and file_name" for place, image in enumerate(images) if not image]
    broken += [f"category {place} has no usable id" for place, category in enumerate(categories) if not category]
    boxes = [_loose_box(entry) for entry in content["annotations"]]
    return CocoFile([i for i in images if i], boxes, [c for c in categories if c]), broken


def _loose_image(entry: Any) -> CocoImage | None:
    if not isinstance(entry, dict) or (number := _integer(entry.get("id"))) is None:
        return None
    if not isinstance(entry.get("file_name"), str):
        return None
    return CocoImage(number, entry["file_name"], _float(entry.get("height")), _float(entry.get("width")))


def _loose_box(entry: Any) -> CocoBox:
    entry = entry if isinstance(entry, dict) else {}
    bbox = entry.get("bbox")
    numbers = [_float(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [_NAN] * 4
    flags = [int(_float(entry.get(key)) > 0) for key in ("iscrowd", "ignore", "difficult")]
    image, category = (_integer(entry.get(key)) for key in ("image_id", "category_id"))
    left, top, width, height = numbers
    return CocoBox(
        -1 if image is None else image,
        -1 if category is None else category,
        (left, top, width, height),
        _integer(entry.get("id")),
        _float(entry.get("area")),
        *flags,
    )


def _loose_category(entry: Any) -> CocoCategory | None:
    if not isinstance(entry, dict) or (number := _integer(entry.get("id"))) is None:
        return None
    parent = entry.get("supercategory")
    return CocoCategory(number, str(entry.get("name", number)), parent if isinstance(parent, str) else None)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN


def _integer(value: Any) -> int | None:
    number = _float(value)
    return int(number) if number.is_integer() and abs(number) < 2**63 else None


def _owned(
    content: CocoFile, rows: dict[int, int], file: str, faults: list[Fault]
) -> tuple[list[CocoBox], NDArray[np.int64], NDArray[np.int64]]:
    """The boxes whose image is in the table, with their places in the file and their images' rows."""
    boxes = content.annotations
    image = np.fromiter((rows.get(box.image_id, -1) for box in boxes), np.int64, len(boxes))
    number = np.flatnonzero(image >= 0)
    listed = {entry.id for entry in content.images}
    for row in np.flatnonzero(image < 0).tolist():
        if boxes[row].image_id not in listed:
            text = f"its image_id {boxes[row].image_id} is not among the images"
            faults.append(Fault("orphan-label", file, row, text))
    return boxes if len(number) == len(boxes) else [boxes[row] for row in number], number, image[number]


def _labels(
    boxes: list[CocoBox], categories: list[CocoCategory], classes: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Label of each box by the name of its category, and the fault where it has none."""
    places = {name: label for label, name in enumerate(classes)}
    by_id = {category.id: places.get(category.name, -1) for category in categories}
    labels = np.fromiter((by_id.get(box.category_id, -1) for box in boxes), np.int64, len(boxes))
    return labels, np.where(labels < 0, BAD_LABEL, SOUND).astype(np.uint8)


def _code(box: CocoBox) -> int:
    return CROWD if box.iscrowd else DIFFICULT if box.ignore or box.difficult else NORMAL


def _own_ids(categories: list[CocoCategory], classes: dict[str, int]) -> NDArray[np.int64]:
    """The ids that this file has for the classes, else those of the split that declares them."""
    own = {category.name: category.id for category in reversed(categories)}
    return np.array([own.get(name, number) for name, number in classes.items()], np.int64)


def _union(tree: Tree, tables: list[Annotations], classes: tuple[str, ...]) -> Annotations:
    """One table of all images, each file once (as its first table has it); ids are kept unless they collide."""
    if not tables:
        return Builder().build(tree.root, CocoReader.layout, classes)
    whole = concatenate(tables) if len(tables) > 1 else tables[0]
    first = {path: row for row, path in reversed(list(enumerate(whole.paths)))}
    table = select(whole, np.sort(np.array(list(first.values())))) if len(first) < len(whole.paths) else whole
    for ids in (table.image_ids, table.annotation_ids):
        if len(np.unique(ids)) < len(ids):
            ids[:] = np.arange(1, len(ids) + 1)
    return table
