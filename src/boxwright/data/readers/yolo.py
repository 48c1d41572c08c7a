"""YOLO text files, one an image, a line a box: class, then center and size as fractions of the image, or a polygon."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from boxwright._util.reading import NO_FILE
from boxwright.data.annotations import Annotations, Builder, Fault
from boxwright.data.files import Tree
from boxwright.data.images import RefusedImageError, image_size
from boxwright.data.readers.reader import Reader, ReaderOptions
from boxwright.data.readers.yolo_darknet import from_beside, from_darknet, has_boxes
from boxwright.data.readers.yolo_labels import (
    REMARKS,
    LabelFiles,
    YoloLine,
    count_oddities,
    label_path,
    parse_line,
)
from boxwright.data.readers.yolo_layout import (
    CLASS_FILES,
    MOST_CLASSES,
    YoloLayout,
    class_list,
    find_config,
    from_folders,
    from_yaml,
)
from boxwright.errors import DataError
from boxwright.parts import reader


@reader(form="center", fractions=True)
class YoloReader(Reader):
    """Reads data.yaml, or images/ + labels/ with the split as a folder above or below."""

    layout = "yolo"
    title = "YOLO"
    looks_for = "data.yaml, obj.data, or *.txt in labels/ or beside the images"
    written_by = (
        (
            "Ultralytics, Roboflow YOLOv5 to v12",
            "`data.yaml`, `<split>/images/` and `<split>/labels/`, or `images/<split>/` ...",
        ),
        ("Label Studio, X-AnyLabeling", "`images/`, `labels/`, `classes.txt`"),
        ('darknet, CVAT "YOLO 1.1", VoTT', "`obj.data`, `obj.names`, `<split>.txt`, `obj_<split>_data/`"),
        ("labelImg", "a `.txt` beside each image, `classes.txt`"),
        ('Roboflow "YOLO Darknet"', "`<split>/*.txt` beside the images, `<split>/_darknet.labels`"),
    )
    unlisted = "is in no split"

    def __init__(self, tree: Tree, layout: YoloLayout, max_pixels: int | None) -> None:
        super().__init__(tree, tuple(name for name in layout.images if name))
        self._max_pixels = max_pixels
        self._layout = layout
        self._labels = LabelFiles(tree)
        self._lines: dict[str, list[YoloLine]] = {}
        self.sources.update(layout.sources.values(), layout.lists, filter(None, [layout.config]))

    @classmethod
    def detect_config(cls, tree: Tree, options: ReaderOptions) -> YoloReader | None:
        """Return the reader if a data.yaml or obj.data leads to images with label files."""
        config = options.config or find_config(tree)
        if config is None:
            darknet = from_darknet(tree)
            return cls._of(tree, darknet, options) if darknet else None
        layout = from_yaml(tree, config)
        if not layout.images:
            found = from_folders(tree)
            layout.images, layout.sources, layout.lists = found.images, found.sources, found.lists
        reader = cls._of(tree, layout, options)
        if reader is None and layout.images:
            tree.remarks.append(f"{config} leads to images, but none of them has a label file")
        return reader

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> YoloReader | None:
        """Return the reader if there are folders of images and labels, or label files beside images."""
        if reader := cls._of(tree, from_folders(tree), options):
            return reader
        beside = from_beside(tree)
        return cls._of(tree, beside, options) if beside else None

    @classmethod
    def _of(cls, tree: Tree, layout: YoloLayout, options: ReaderOptions) -> YoloReader | None:
        labels = LabelFiles(tree)
        if not any(labels.of(path) for group in layout.images.values() for path in group):
            return None
        names, files = class_list(tree, (path for group in layout.images.values() for path in group))
        reader = cls(tree, layout, options.max_pixels)
        if layout.names is None or layout.names == names:
            layout.names = names
            reader.sources.update(files)
        return reader

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Images without label files, or text beside images that holds no boxes."""
        labels = LabelFiles(tree)
        images = tree.images_below()
        texts = [file for path in images for file in labels.of(path)[:1]]
        if any(has_boxes(tree, text) for text in texts[:1]):
            return f"{texts[0]} has boxes, but isn't in labels/ or beside an image"
        if texts:
            line = next(iter(tree.read_lines(texts[0])), "")
            return f"{texts[0]} begins with {line[:80]!r}, where a class's number and four fractions are due"
        folder = tree.folder(".", "images") or tree.folder(".", "labels")
        if folder and images:
            return f"{folder}/ is there, but none of {len(images)} images has a .txt in labels/ or beside it"
        return f"{folder}/ is there, but no image" if folder else None

    def split_file(self, split: str) -> str:
        """Return data.yaml or the list of the split, or the folder of its images."""
        return self._layout.sources.get(split) or posixpath.dirname(self._layout.images[split][0])

    def read(self, splits: Sequence[str]) -> Annotations:
        """Read the images of these splits, each once, or all if none are given."""
        images = {name: self._layout.images[name] for name in splits or self._layout.images}
        paths = sorted({path for group in images.values() for path in group})
        builder = Builder(faults=list(self._layout.faults))
        names = self._layout.names if self._layout.names is not None else self._numbered(builder)
        classes = tuple(dict.fromkeys(names[number] for number in sorted(names)))
        places = {name: label for label, name in enumerate(classes)}
        labels = {number: places[name] for number, name in names.items()}
        if self._layout.config and len(names) not in (self._layout.count or len(names), 0):
            text = f"nc is {self._layout.count}, but names has {len(names)}: the names count"
            builder.note("class-count", self._layout.config, text)
        used: dict[str, str] = {}
        for path in paths:
            self._add(path, labels, used, builder)
        self._remark(used, builder)
        self._remark_numbers(names, builder)
        for name in classes if len(classes) < len(names) else ():
            numbers = [str(number) for number in sorted(names) if names[number] == name]
            if len(numbers) > 1:
                text = f"class {name!r} is listed as {' and '.join(numbers)}: they are one class"
                builder.note("listed-twice", self._layout.config or paths[0], text)
        table = builder.build(self.tree.root, self.layout, classes)
        table.fractions = True
        rows = {path: row for row, path in enumerate(table.paths)}
        table.splits = {
            split: np.array(sorted(rows[path] for path in set(group) if path in rows), np.int64)
            for split, group in images.items()
            if split
        }
        return table

    def leftover(self, path: str) -> Fault:
        """Report label files without an image as orphans."""
        folder, name = posixpath.split(path)
        among_labels = "labels" in folder.lower().split("/") or folder in map(posixpath.dirname, self._lines)
        if name.lower().endswith(".txt") and name.lower() not in CLASS_FILES and among_labels:
            return Fault("orphan-label", path, None, "has no image in any split")
        return super().leftover(path)

    def _add(self, path: str, labels: dict[int, int], used: dict[str, str], builder: Builder) -> None:
        file, *others = self._labels.of(path) or [label_path(path)]
        for name in (path, file):
            if self.tree.state(name) == "outside":
                builder.leave_out("path-outside", name, "leads out of the data set's folder", path, file)
                return
        state = self.tree.state(path)
        try:
            height, width = self._size(path)
        except DataError as error:
            kind = "refused" if isinstance(error, RefusedImageError) else "unreadable-image"
            builder.leave_out(kind, path, str(error).partition(": ")[2], file, *others)
            return
        if self.tree.state(file) == "missing":
            if self.tree.is_own(path):
                builder.note("boxwright-output", path, "is a picture that boxwright drew, so it isn't read")
                return
            builder.note("orphan-image", path, "has no label file, so it counts as without objects")
        try:
            lines = self._read(file)
        except DataError as error:
            builder.leave_out("unreadable-annotation", file, str(error), path, *others)
            return
        builder.add_image(path, file, (height, width), state == "there")
        for other in others:
            builder.note("listed-twice", other, f"{path} has its boxes in {file} already")
        if file in used:
            builder.note("listed-twice", file, f"is the label file of {used[file]} and of {path}")
        used.setdefault(file, path)
        for number, line in enumerate(lines):
            (cx, cy), (w, h) = line.center, line.size
            corners = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
            builder.add_box(number, corners, line.size, labels.get(line.label, -1))

    def _size(self, path: str) -> tuple[int, int]:
        """Read height and width of an image, 0 if it is missing; raises DataError if it is no image."""
        state = self.tree.state(path)
        if state == "special":
            raise DataError(f"{path}: {NO_FILE}")
        return image_size(self.tree.root / path, max_pixels=self._max_pixels) if state == "there" else (0, 0)

    def _read(self, file: str) -> list[YoloLine]:
        if file not in self._lines:
            there = self.tree.state(file) != "missing"
            self._lines[file] = [parse_line(line) for line in self.tree.read_lines(file)] if there else []
        return self._lines[file]

    def _remark(self, used: dict[str, str], builder: Builder) -> None:
        """Say once what is odd about the lines."""
        oddities = count_oddities({file: self._lines[file] for file in used})
        if "polygon" in oddities and "corners" in oddities:  # one of four corners among others
            oddities["polygon"] = (oddities["polygon"][0] + oddities.pop("corners")[0], oddities["polygon"][1])
        for oddity, (count, file) in oddities.items():
            kind, text = REMARKS[oddity]
            builder.note(kind, file, text.format(count))

    def _remark_numbers(self, names: dict[int, str], builder: Builder) -> None:
        """Say that the numbers of the classes seem to begin at 1, where the last is one too many and 0 is unused."""
        used = {line.label for lines in self._lines.values() for line in lines}
        count = len(names)
        if count in used and count not in names and 0 not in used and max(used) == count:
            first = next(file for file, lines in self._lines.items() if count in {line.label for line in lines})
            text = f"class numbers run from 1 to {count}: YOLO counts from 0, and {names[0]!r} has no box"
            builder.note("class-ids-from-one", first, text)

    def _numbered(self, builder: Builder) -> dict[int, str]:
        """Name the classes class_0 ... for data that names none: as many as declared, or as any label file uses."""
        files = {file for group in self._layout.images.values() for path in group for file in self._labels.of(path)[:1]}
        used: set[int] = set()
        for file in files:
            with suppress(DataError):  # reported when its image is added
                used.update(line.label for line in self._read(file))
        most = max((label for label in used if label < MOST_CLASSES), default=-1)
        most = max(most, self._layout.count - 1)
        if files:
            text = "classes have numbers and no names: a classes.txt or a data.yaml with names tells them"
            builder.note("no-class-names", self._layout.config or posixpath.dirname(min(files)) or ".", text)
        return {number: f"class_{number}" for number in range(most + 1)}
