"""COCO JSON: images, annotations and categories of a split in one file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from boxwright._util.collecting import uncollected
from boxwright._util.reading import as_utf8
from boxwright.data.annotations import (
    BAD_LABEL,
    SOUND,
    Annotations,
    Builder,
    Fault,
    concatenate,
    geometry_faults,
    image_order,
    select,
)
from boxwright.data.files import Tree, join, stem
from boxwright.data.readers.coco_columns import areas_of, codes_of, ids_of, labels_of, owned_boxes
from boxwright.data.readers.coco_images import CocoImages
from boxwright.data.readers.coco_json import (
    KEYS,
    UNREADABLE,
    CocoBox,
    CocoCategory,
    CocoFile,
    CocoOutline,
    CocoUsage,
    CocoUsed,
    is_coco,
    load_coco,
    names_keys,
    repeated_keys,
    tidied,
)
from boxwright.data.readers.parsing import parse_json
from boxwright.data.readers.reader import Reader, ReaderOptions
from boxwright.data.splits import canonical, is_split_name, without_years
from boxwright.errors import DataError
from boxwright.parts import reader

_ROBOFLOW = "_annotations.coco.json"
_ENDS = 2**20  # bytes of a large file that tell what it is
_IN_SPLIT = (_ROBOFLOW, "labels.json", "annotations.json", "instances.json")
"""Names of files in the folder of a split; Roboflow's in any folder, FiftyOne's and others' where it is called so."""


@reader(form="size")
class CocoReader(Reader):
    """Reads one JSON file for each split."""

    layout = "coco"
    title = "COCO"
    looks_for = "annotations/*.json, <split>/_annotations.coco.json or <split>.json"
    written_by = (
        ("COCO, CVAT", "`annotations/instances_<split>.json` or `annotations/<split>.json`, `images/<split>/`"),
        ("Roboflow", "`<split>/_annotations.coco.json` beside the images"),
        ("FiftyOne", "`<split>/labels.json`, `<split>/data/`"),
        ("Label Studio, X-AnyLabeling, labelme2coco", "one `.json` of any name, `images/`"),
    )
    unlisted = "is listed in no annotation file"

    def __init__(self, tree: Tree, files: dict[str, str], named: bool) -> None:
        super().__init__(tree, tuple(files) if named else ())
        self.files = files
        """JSON file of each split; a single one that is no split has any key."""
        self.sources.update(files.values())
        self._folders: dict[str, str] = {}
        self._boxes: dict[str, int] = {}
        """Annotations of each file that was read."""

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> CocoReader | None:
        """Return the reader if a JSON file in a usual place is named after a split and holds a COCO data set."""
        return cls._find(tree, named=True)

    @classmethod
    def detect_any(cls, tree: Tree, options: ReaderOptions) -> CocoReader | None:
        """Return the reader if a JSON file of any name in a usual place holds COCO data; a single one is no split."""
        return cls._find(tree, named=False)

    @classmethod
    def _find(cls, tree: Tree, named: bool) -> CocoReader | None:
        for group in _places(tree):
            chosen = [path for path in group if is_split_name(_split_name(path)) or not named]
            there = [path for path in chosen if tree.state(path) == "there" and not tree.is_own(path)]
            files = [path for path in there if _is_split(tree, path)]
            if files:
                short = without_years(_split_name(path) for path in files)
                return cls(tree, {short[_split_name(path)]: path for path in files}, named or len(files) > 1)
        return None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a JSON file that has some of the three lists."""
        for file in (path for group in _places(tree) for path in group):
            with suppress(DataError):
                content = parse_json(tree.read(file), dict[str, Any])
                there = [key for key in KEYS if key in content]
                lost = [key for key in KEYS if key not in content]
                if not there or not lost:
                    continue
                return f"{file} has {' and '.join(there)}, but no {' and no '.join(lost)}"
        return None

    def split_file(self, split: str) -> str:
        """Return the JSON file of a split."""
        return self.files[split]

    def read(self, splits: Sequence[str]) -> Annotations:
        """Read the images of these splits, each once, or all if none are given. Classes are those of all splits."""
        with uncollected():
            return self._read(splits)

    def _read(self, splits: Sequence[str]) -> Annotations:
        wanted = [self.files[split] for split in splits] or list(self.files.values())
        faults: list[Fault] = []
        notes: list[Fault] = []
        loaded = {}
        for path in wanted:
            try:
                loaded[path], broken, odd = load_coco(self.tree.map(path))
            except DataError as error:
                faults.append(Fault("unreadable-annotation", path, None, f"JSON that can't be read: {error}"))
                continue
            self._boxes[path] = len(loaded[path].annotations)
            faults += [Fault("bad-number", path, None, text) for text in broken]
            notes += [Fault(kind, path, None, text) for kind, text in odd]
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
        table.notes = notes + table.notes
        return table

    def examine(self) -> list[Fault]:
        """Keys that a JSON object has twice, which costs a look at the whole file."""
        faults = []
        for path, boxes in self._boxes.items():
            try:
                keys = repeated_keys(self.tree.read(path), boxes)
            except DataError:
                continue
            text = "the key {!r} stands twice in an object: what the first said isn't read"
            faults += [Fault("repeated-key", path, None, text.format(key)) for key in keys]
        return faults

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
            return tidied(msgspec.json.decode(as_utf8(self.tree.read(path)), type=CocoOutline).categories)
        except UNREADABLE:
            return self._slowly(path).categories

    def _used(self, loaded: dict[str, CocoFile]) -> set[int]:
        used: set[int] = set()
        for path in self.files.values():
            boxes: Iterable[CocoBox | CocoUsed]
            if path in loaded:
                boxes = loaded[path].annotations
            else:
                try:
                    boxes = msgspec.json.decode(as_utf8(self.tree.read(path)), type=CocoUsage).annotations
                except UNREADABLE:
                    boxes = self._slowly(path).annotations
            used.update(box.category_id for box in boxes if box.category_id is not None)
        return used

    def _slowly(self, path: str) -> CocoFile:
        try:
            return load_coco(self.tree.map(path)).content
        except DataError:
            return CocoFile([], [], [])

    def _image_folder(self, file: str, names: list[str]) -> str:
        """Find the folder that holds most of the images, by a sample of their names."""
        if file not in self._folders:
            sample = names[:: max(1, len(names) // 50)]
            most = -1
            for folder in _image_folders(file):
                hits = sum(state == "there" for _, state in self.tree.locate(folder, sample))
                if hits > most:
                    self._folders[file], most = folder, hits
                if hits == len(sample):
                    break
        return self._folders[file]

    def _table(self, file: str, content: CocoFile, classes: dict[str, int]) -> Annotations:
        folder = self._image_folder(file, [image.file_name for image in content.images])
        found = CocoImages(self.tree, file, folder, content.annotations)
        found.add(content.images, self._foreign(file))
        images = found.kept
        boxes, number, image = owned_boxes(content, found, file)
        order = image_order(image)
        corners = chain.from_iterable(map(attrgetter("bbox"), boxes))
        xywh = np.fromiter(corners, np.float64, 4 * len(boxes)).reshape(-1, 4).take(order, 0)
        labels = labels_of(boxes, content.categories, classes, found)[order]
        with np.errstate(invalid="ignore", over="ignore"):
            xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        fault = geometry_faults(xywh[:, 2:], xyxy)
        fault[(fault == SOUND) & (labels < 0)] = BAD_LABEL
        sides = (np.fromiter(map(attrgetter(side), images), np.float64, len(images)) for side in ("height", "width"))
        sizes = np.stack(list(sides), 1)
        return Annotations(
            root=self.tree.root,
            layout=self.layout,
            classes=tuple(classes),
            category_ids=_own_ids(content.categories, classes),
            names=[image.file_name for image in images],
            paths=found.paths,
            files=[file] * len(images),
            there=np.array(found.there, np.bool_),
            sizes=np.where((sizes > 0) & (sizes < 2**31), sizes, 0).astype(np.int32),
            image_ids=np.array([image.id for image in images], np.int64),
            image=image[order],
            number=number[order],
            xyxy=xyxy,
            xywh=xywh,
            labels=labels,
            code=codes_of(boxes)[order],
            areas=areas_of(boxes, order, xywh),
            annotation_ids=ids_of(boxes)[order],
            fault=fault,
            faults=found.faults,
            notes=found.notes,
            accounted=found.accounted,
            shared_files=True,
        )

    def _foreign(self, file: str) -> set[str]:
        """Folders of other splits: a file found by its name alone isn't looked for there."""
        return {split for split, path in self.files.items() if path != file and self.splits}


def _places(tree: Tree) -> Iterable[list[str]]:
    """JSON files in the usual places, most telling first."""
    folder = tree.folder(".", "annotations")
    inside = [join(folder, name) for name in tree.files(folder, ".json")] if folder else []
    instances = [path for path in inside if stem(path).startswith("instances")]
    yield instances or inside
    yield [
        path
        for folder in sorted(tree.entries("."))
        for name in (_IN_SPLIT if is_split_name(folder) else [_ROBOFLOW])
        if tree.is_folder(folder) and tree.state(path := join(folder, name)) == "there"
    ]
    yield tree.files(".", ".json")


def _split_name(path: str) -> str:
    folder, name = posixpath.split(path)
    in_split = name in _IN_SPLIT and folder not in ("", "annotations", "Annotations")
    return folder if in_split else stem(name).removeprefix("instances_")


def _is_split(tree: Tree, path: str) -> bool:
    expected = is_split_name(_split_name(path))
    try:
        if expected and names_keys(tree.read(path, _ENDS)):
            return True  # loading it will tell, and scanning it first costs as much again
        return is_coco(tree.read(path), expected)
    except DataError:  # a folder of that name, or a file that nobody may read
        return False


def _image_folders(file: str) -> list[str]:
    """List the folders that may hold an annotation file's images."""
    parent = posixpath.dirname(file) or "."
    if posixpath.basename(file) in _IN_SPLIT:
        return [parent, join(parent, "images"), join(parent, "data"), "images", "data", "."]
    full = _split_name(file)
    splits = dict.fromkeys([full, *without_years([full]).values(), *(["valid"] if canonical(full) == "val" else [])])
    below = [join(folder, split) for folder in ("images", ".") for split in splits]
    return [*below, *(join(split, "images") for split in splits), "images", "JPEGImages", parent, "."]


def _own_ids(categories: list[CocoCategory], classes: dict[str, int]) -> NDArray[np.int64]:
    """Return this file's ids of the classes, or those of the split that declares them."""
    own = {category.name: category.id for category in reversed(categories)}
    return np.array([own.get(name, number) for name, number in classes.items()], np.int64)


def _union(tree: Tree, tables: list[Annotations], classes: tuple[str, ...]) -> Annotations:
    """Join all images in one table, each file once (as its first table has it); ids are kept unless they collide."""
    if not tables:
        return Builder().build(tree.root, CocoReader.layout, classes)
    whole = concatenate(tables) if len(tables) > 1 else tables[0]
    first = {path: row for row, path in reversed(list(enumerate(whole.paths)))}
    table = whole
    if len(first) < len(whole.paths):
        table = select(whole, np.sort(np.array(list(first.values()))))
        table.notes = table.notes + _unlike(whole, first)
    for ids in (table.image_ids, table.annotation_ids):
        if (np.diff(np.sort(ids)) == 0).any():  # np.unique imports numpy.ma, a tenth of the whole reading
            ids[:] = np.arange(1, len(ids) + 1)
    return table


def _unlike(whole: Annotations, first: dict[str, int]) -> list[Fault]:
    """Images that two files list with other boxes; all splits together have those of the first."""
    boxes: dict[int, list[tuple[float, ...]]] = {}
    for row, label, xywh in zip(whole.image.tolist(), whole.labels.tolist(), whole.xywh.tolist(), strict=True):
        boxes.setdefault(row, []).append((label, *xywh))
    notes = []
    for row, path in enumerate(whole.paths):
        other = first[path]
        if other != row and sorted(boxes.get(row, ())) != sorted(boxes.get(other, ())):
            text = f"{whole.names[row]} has other boxes in {whole.files[other]}"
            notes.append(Fault("listed-twice", whole.files[row], None, text))
    return notes
