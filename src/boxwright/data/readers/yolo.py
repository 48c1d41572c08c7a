"""YOLO text files, one an image, a line a box: class, then centre and size as fractions of the image, or a polygon."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import yaml

from boxwright.data.annotations import Annotations, Builder, Fault
from boxwright.data.files import Tree, is_image, join, stem
from boxwright.data.images import RefusedImageError, image_size
from boxwright.data.readers.reader import Reader, ReaderOptions
from boxwright.data.splits import canonical
from boxwright.errors import DataError

_NAN = float("nan")
_MOST_CLASSES = 10_000  # a larger number in a label file is a slip
_CONFIGS = ("data.yaml", "data.yml")
_SPLIT_KEYS = ("train", "val", "valid", "validation", "test")


class YoloLine(NamedTuple):
    """One box as fractions of the image; NaN where unreadable."""

    label: int
    center: tuple[float, float]
    size: tuple[float, float]


@dataclass
class YoloLayout:
    """Where things are: class number to name, and the images of each split ("" for the only one, which is none)."""

    names: dict[int, str] | None
    images: dict[str, list[str]]
    outside: list[Fault] = field(default_factory=list)


class YoloReader(Reader):
    """Reads data.yaml, or images/ + labels/ with the split as a folder above or below."""

    layout = "yolo"
    looks_for = "data.yaml or images/ with labels/"

    def __init__(self, tree: Tree, layout: YoloLayout, config: str | None = None) -> None:
        self.tree = tree
        self._config = config
        self._names = layout.names
        self._images = layout.images
        self._outside = layout.outside
        self.splits = tuple(name for name in layout.images if name)

    @classmethod
    def detect_config(cls, tree: Tree, options: ReaderOptions) -> YoloReader | None:
        """The reader, where there is a data.yaml."""
        return cls.detect(tree, options) if any(name in tree.entries(".") for name in _CONFIGS) else None

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> YoloReader | None:
        """The reader, where a data.yaml leads to images, or there are folders of images and of labels."""
        config = next((name for name in _CONFIGS if tree.state(name) == "there"), None)
        layout = _from_yaml(tree, config) if config else None
        if layout is None or not layout.images:
            found = _from_folders(tree)
            names = layout.names if layout and layout.names else _class_list(tree, found)
            layout = YoloLayout(names, found, layout.outside if layout else [])
        labels = (label_path(path) for group in layout.images.values() for path in group)
        return cls(tree, layout, config) if any(tree.state(path) != "missing" for path in labels) else None

    def split_file(self, split: str) -> str:
        """data.yaml, or the folder of the split's images."""
        return self._config or posixpath.dirname(self._images[split][0])

    def read(self, splits: Sequence[str]) -> Annotations:
        """The images of these splits, each once; all for none."""
        images = {name: self._images[name] for name in splits or self._images}
        paths = sorted({path for group in images.values() for path in group})
        names = self._names if self._names is not None else self._numbered()
        labels = {number: label for label, number in enumerate(sorted(names))}
        builder = Builder(faults=list(self._outside))
        for path in paths:
            self._add(path, labels, builder)
        table = builder.build(self.tree.root, self.layout, tuple(names[number] for number in sorted(names)))
        rows = {path: row for row, path in enumerate(table.paths)}
        table.splits = {
            split: np.array(sorted(rows[path] for path in set(group) if path in rows), np.int64)
            for split, group in images.items()
            if split
        }
        return table

    def orphans(self, table: Annotations) -> list[Fault]:
        """Images without a label file (read as images without objects), and label files without an image."""
        images = sorted({path for group in self._images.values() for path in group})
        wanted = {label_path(path) for path in images}
        bare = [path for path in images if self.tree.state(label_path(path)) == "missing"]
        folders = sorted({posixpath.dirname(path) for path in wanted})
        lost = [
            path
            for folder in folders
            for name in self.tree.files(folder, ".txt")
            if (path := join(folder, name)) not in wanted and name != "classes.txt"
        ]
        text = "has no label file, so it counts as without objects"
        return [
            *(Fault("orphan-image", path, None, text) for path in bare),
            *(Fault("orphan-label", path, None, "has no image in any split") for path in lost),
        ]

    def _add(self, path: str, labels: dict[int, int], builder: Builder) -> None:
        file = label_path(path)
        for name in (path, file):
            if self.tree.state(name) == "outside":
                builder.faults.append(Fault("path-outside", name, None, "leads out of the data set's folder"))
                return
        there = self.tree.state(path) == "there"
        try:
            height, width = image_size(self.tree.root / path) if there else (0, 0)
        except DataError as error:
            kind = "refused" if isinstance(error, RefusedImageError) else "unreadable-image"
            builder.faults.append(Fault(kind, path, None, _after_path(error)))
            return
        try:
            lines = self._lines(file)
        except DataError as error:
            builder.faults.append(Fault("unreadable-annotation", file, None, str(error)))
            return
        builder.add_image(path, file, (height, width), there)
        for number, line in enumerate(lines):
            (cx, cy), (w, h) = line.center, line.size
            corners = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
            builder.add_box(number, corners, line.size, labels.get(line.label, -1))

    def _lines(self, file: str) -> list[YoloLine]:
        if self.tree.state(file) != "there":
            return []
        return [parse_line(line) for line in self.tree.read_lines(file)]

    def _numbered(self) -> dict[int, str]:
        """class_0 ... for data that names no classes: as many as any label file of any split uses."""
        files = {label_path(path) for group in self._images.values() for path in group}
        used: set[int] = set()
        for file in files:
            with suppress(DataError):  # told where its image is added
                used.update(line.label for line in self._lines(file))
        most = max((label for label in used if label < _MOST_CLASSES), default=-1)
        return {number: f"class_{number}" for number in range(most + 1)}


def parse_line(line: str) -> YoloLine:
    """One line of a label file: five numbers, or a class and a polygon of at least three corners, whose box counts."""
    numbers = [_float(word) for word in line.split()]
    label = int(numbers[0]) if numbers[0].is_integer() else -1
    if len(numbers) == 5:
        return YoloLine(label, (numbers[1], numbers[2]), (numbers[3], numbers[4]))
    if len(numbers) >= 7 and len(numbers) % 2:
        x, y = np.array(numbers[1::2]), np.array(numbers[2::2])
        left, right, top, bottom = (float(edge) for edge in (x.min(), x.max(), y.min(), y.max()))
        return YoloLine(label, ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top))
    return YoloLine(label, (_NAN, _NAN), (_NAN, _NAN))


def label_path(image: str) -> str:
    """The label file of an image: the last folder called images becomes labels; without one, beside the image."""
    folders = posixpath.dirname(image).split("/")
    for place in reversed(range(len(folders))):
        if folders[place].lower() == "images":
            folders[place] = "labels" if folders[place].islower() else "Labels"
            break
    return "/".join(part for part in (*folders, stem(image) + ".txt") if part)


def _from_yaml(tree: Tree, config: str) -> YoloLayout:
    try:
        content = yaml.safe_load(tree.read(config))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{tree.root / config}: YAML that can't be parsed: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise DataError(f"{tree.root / config}: Expected keys names, train, val but got {type(content).__name__}")
    base = str(content.get("path") or "")
    images: dict[str, list[str]] = {}
    outside: list[Fault] = []
    for key in _SPLIT_KEYS:
        value = content.get(key)
        entries = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, str)]
        found = [path for entry in entries for path in _listed(tree, base, entry)]
        if found:
            images.setdefault(canonical(key), []).extend(found)
        elif entries:
            text = f"{key}: {entries[0]} leads to no image in the data set's folder"
            outside.append(Fault("missing-split", config, None, text))
    return YoloLayout(_names(content), images, outside)


def _names(content: dict[str, Any]) -> dict[int, str] | None:
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict):
        return {int(number): str(name) for number, name in names.items() if str(number).isdigit()}
    return {n: f"class_{n}" for n in range(count)} if isinstance(count, int) and count < _MOST_CLASSES else None


def _listed(tree: Tree, base: str, entry: str) -> list[str]:
    """Images of an entry of data.yaml, a folder or a list of files, looked for below data.yaml's own folder only."""
    for path in _below(base, entry):
        if tree.state(path) != "there":
            continue
        if tree.is_folder(path):
            images = [join(path, name) for name in tree.images(path)]
            inner = join(path, "images")
            if not images and tree.is_folder(inner):
                images = [join(inner, name) for name in tree.images(inner)]
            if images:
                return images
        elif path.endswith(".txt"):
            lines = [line.replace("\\", "/") for line in tree.read_lines(path)]
            return [_nearest(tree, base, line) for line in lines if is_image(posixpath.basename(line))]
    return []


def _nearest(tree: Tree, base: str, line: str) -> str:
    """The path of a listed image; one that is nowhere stays as written."""
    there = (path for path in _below(base, line) if tree.state(path) == "there")
    return posixpath.normpath(next(there, tree.tidy(line) or line))


def _below(base: str, entry: str) -> Iterable[str]:
    """The paths below the data set that ``base``/``entry`` may mean: as written, then without leading folders."""
    written = _parts(posixpath.join(base, entry))
    alone = _parts(entry)
    for parts in (written, alone):
        yield "/".join(parts)
    tail = [part for part in written if part != ".."]
    for start in range(len(tail)):
        yield "/".join(tail[start:])


def _parts(path: str) -> list[str]:
    windows = "\\" in path or path[1:2] == ":"
    pure = PureWindowsPath(path) if windows else PurePosixPath(path)
    return [part for part in pure.parts if part != pure.anchor]


def _from_folders(tree: Tree) -> dict[str, list[str]]:
    images, labels = tree.folder(".", "images"), tree.folder(".", "labels")
    if images and labels:
        below = {
            canonical(name): [join(join(images, name), image) for image in tree.images(join(images, name))]
            for name in sorted(tree.entries(images))
            if tree.is_folder(join(images, name))
        }
        here = [join(images, name) for name in tree.images(images)]
        return {name: group for name, group in below.items() if group} or ({"": here} if here else {})
    splits: dict[str, list[str]] = {}
    for name in sorted(tree.entries(".")):
        inner = tree.folder(name, "images") if tree.is_folder(name) else None
        if inner and tree.folder(name, "labels") and tree.images(inner):
            splits.setdefault(canonical(name), []).extend(join(inner, image) for image in tree.images(inner))
    return splits


def _class_list(tree: Tree, images: dict[str, list[str]]) -> dict[int, str] | None:
    """The classes.txt that labelling tools write beside the labels."""
    folders = {posixpath.dirname(label_path(path)) for group in images.values() for path in group}
    for path in ("classes.txt", "labels/classes.txt", *sorted(join(folder, "classes.txt") for folder in folders)):
        if tree.state(path) == "there":
            return dict(enumerate(tree.read_lines(path)))
    return None


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return _NAN


def _after_path(error: DataError) -> str:
    return str(error).partition(": ")[2]
