"""Pascal VOC and its kin: one XML file an image.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010. The original counts pixels from 1 and
includes the last, (xmin - 1, ymin - 1, xmax, ymax) here; labelling tools write edges, kept as they are.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from defusedxml import DefusedXmlException, ElementTree

from boxwright.data.annotations import DIFFICULT, NORMAL, Annotations, Builder, Fault
from boxwright.data.files import Tree, is_image, join, stem
from boxwright.data.readers.reader import Reader, ReaderOptions
from boxwright.data.splits import canonical

_ORIGINAL = re.compile(r"\bVOC\s?(19|20)\d\d\b")
_MEMBER = re.compile(r"\S.*\s-?[01]$")  # "000012 -1" in the lists of a single class


class VocObject(NamedTuple):
    """One <object>; what can't be read is NaN or empty."""

    name: str
    xyxy: tuple[float, float, float, float]
    difficult: bool


class VocFile(NamedTuple):
    """What is used of one XML file."""

    filename: str
    size: tuple[int, int]
    original: bool
    objects: list[VocObject]


class VocReader(Reader):
    """Reads Annotations|annotations|annots/*.xml with JPEGImages|images, and ImageSets/Main if there is one."""

    layout = "voc"
    looks_for = "Annotations/*.xml with JPEGImages/ or images/"

    def __init__(self, tree: Tree, annotations: str, images: str, one_based: bool | None) -> None:
        self.tree = tree
        self.annotations = annotations
        self.images = images
        self.one_based = one_based
        self._by_stem = {stem(name): name for name in reversed(tree.images(images))}
        sets = tree.folder(".", "imagesets")
        self._main = (tree.folder(sets, "main") if sets else None) or ""
        self._list_files: dict[str, str] = {}
        self._lists = self._read_lists()
        self.splits = tuple(self._lists)

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> VocReader | None:
        """The reader, where there are XML files in one folder and a folder of images."""
        annotations = tree.folder(".", "annotations", "annots")
        images = tree.folder(".", "jpegimages", "images")
        if annotations is None or images is None or not tree.files(annotations, ".xml"):
            return None
        return cls(tree, annotations, images, options.voc_one_based)

    def split_file(self, split: str) -> str:
        """The list of a split."""
        return self._list_files[split]

    def read(self, splits: Sequence[str]) -> Annotations:
        """All images, whatever ``splits``: the classes are those of the whole data set. Faults are of the splits."""
        builder = Builder()
        parsed = [(name, self._parse(name, builder)) for name in self.tree.files(self.annotations, ".xml")]
        placed = ((self._image_of(name, file, builder), name, file) for name, file in parsed if file)
        found = sorted(((image, name, file) for image, name, file in placed if image), key=lambda item: item[:2])
        names = sorted({thing.name for _, file in parsed if file for thing in file.objects if thing.name.strip()})
        labels = {name: label for label, name in enumerate(names)}
        for image, name, file in found:
            annotation = join(self.annotations, name)
            if builder.names and builder.names[-1] == image:
                text = f"{image} has its boxes in {builder.files[-1]} already"
                builder.faults.append(Fault("listed-twice", annotation, None, text))
                continue
            builder.add_image(image, annotation, file.size, self.tree.state(image) == "there")
            self._add_boxes(file, labels, builder)
        rows = {stem(file): row for row, file in enumerate(builder.files)}
        self._note_unlisted(builder)
        table = builder.build(self.tree.root, self.layout, tuple(names))
        if splits:
            wanted = {name for split in splits for name in self._lists[split]}
            lists = {self.split_file(split) for split in splits}
            table.faults = [fault for fault in table.faults if stem(fault.file) in wanted or fault.file in lists]
        table.splits = {
            split: np.array(sorted({rows[s] for s in stems if s in rows}), np.int64)
            for split, stems in self._lists.items()
        }
        return table

    def orphans(self, table: Annotations) -> list[Fault]:
        """Images without an annotation file."""
        known = {stem(name) for name in self.tree.files(self.annotations, ".xml")}
        return [
            Fault("orphan-image", join(self.images, name), None, f"has no file in {self.annotations}/")
            for name in self.tree.images(self.images)
            if stem(name) not in known
        ]

    def _add_boxes(self, file: VocFile, labels: dict[str, int], builder: Builder) -> None:
        shift = 1.0 if (file.original if self.one_based is None else self.one_based) else 0.0
        for number, thing in enumerate(file.objects):
            left, top, right, bottom = thing.xyxy
            builder.add_box(
                number,
                (left - shift, top - shift, right, bottom),
                (right - left, bottom - top),
                labels.get(thing.name, -1),
                DIFFICULT if thing.difficult else NORMAL,
            )

    def _parse(self, name: str, builder: Builder) -> VocFile | None:
        path = join(self.annotations, name)
        if self.tree.state(path) == "outside":
            builder.faults.append(Fault("path-outside", path, None, "is a link out of the data set's folder"))
            return None
        try:
            root = ElementTree.fromstring(self.tree.read(path))
        except DefusedXmlException as error:
            builder.faults.append(Fault("refused", path, None, f"XML that declares entities: {type(error).__name__}"))
            return None
        except (SyntaxError, ValueError, LookupError) as error:  # a bad encoding is one of the latter two
            builder.faults.append(Fault("unreadable-annotation", path, None, f"XML that can't be parsed: {error}"))
            return None
        return VocFile(
            _text(root, "filename").strip(),
            (_side(root, "size/height"), _side(root, "size/width")),
            _ORIGINAL.search(_text(root, "source/database")) is not None,
            [_object(node) for node in root.iterfind("object")],
        )

    def _image_of(self, name: str, file: VocFile, builder: Builder) -> str | None:
        """Path of the image: the one with the XML file's stem, else <filename>; None where that leads outside."""
        annotation = join(self.annotations, name)
        named = file.filename.replace("\\", "/")
        base = posixpath.basename(named)
        own = self._by_stem.get(stem(name))
        if own and stem(base) == stem(name) and base in self.tree.entries(self.images):
            own = base  # several images share the stem: the file says which
        places = [join(self.images, named), named, posixpath.join(self.annotations, named)]
        states = {place: self.tree.state(place) for place in places} if named else {}
        there = [self.tree.tidy(place) for place, state in states.items() if state == "there" and is_image(base)]
        foreign = posixpath.isabs(named) or named[1:2] == ":"
        if not there and "outside" in states.values() and not (foreign and own):
            builder.faults.append(Fault("path-outside", annotation, None, f"<filename> {named} leaves the data set"))
            return None
        if own is None:
            return there[0] if there else join(self.images, base or stem(name) + ".jpg")
        if there and stem(base) != stem(name):
            text = f"<filename> is {named}, but {own} has the annotation's name and is taken"
            builder.notes.append(Fault("name-mismatch", annotation, None, text))
        path = join(self.images, own)
        if self.tree.state(path) == "outside":
            builder.faults.append(Fault("path-outside", path, None, "is a link out of the data set's folder"))
            return None
        return path

    def _read_lists(self) -> dict[str, list[str]]:
        lists: dict[str, list[str]] = {}
        for name in self.tree.files(self._main, ".txt") if self._main else []:
            path = join(self._main, name)
            if self.tree.state(path) != "there":
                continue
            lines = self.tree.read_lines(path)
            if not lines or not all(map(_MEMBER.fullmatch, lines)):
                split = canonical(stem(name))
                self._list_files[split] = path
                lists[split] = [stem(line) if is_image(line) else line for line in lines]
        return lists

    def _note_unlisted(self, builder: Builder) -> None:
        """Listed names that lead outside, or to neither an annotation file nor an image (orphans have the latter)."""
        files = {stem(name) for name in self.tree.files(self.annotations, ".xml")}
        for split, names in self._lists.items():
            for name in sorted(set(names) - files):
                wanted = join(self.annotations, name + ".xml")
                if self.tree.state(wanted) == "outside":
                    kind, text = "path-outside", f"{name} leaves the data set's folder"
                elif name not in self._by_stem:
                    kind, text = "missing-image", f"{name} is listed, but there is neither an image nor {wanted}"
                else:
                    continue
                builder.faults.append(Fault(kind, self.split_file(split), None, text))


def _object(node: Any) -> VocObject:
    left, top, right, bottom = (_number(node, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    difficult = _number(node, "difficult") > 0
    return VocObject(_text(node, "name"), (left, top, right, bottom), difficult)


def _text(node: Any, path: str) -> str:
    return node.findtext(path) or ""


def _number(node: Any, path: str) -> float:
    try:
        return float(_text(node, path))
    except ValueError:
        return float("nan")


def _side(node: Any, path: str) -> int:
    value = _number(node, path)
    return int(value) if 0 < value < 2**31 else 0
