"""Pascal VOC and its kin: one XML file an image.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010. The original counts pixels from 1 and
includes the last, (xmin - 1, ymin - 1, xmax, ymax) here; labeling tools write edges, kept as they are.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from boxwright._util.reading import NO_FILE
from boxwright.data.annotations import DIFFICULT, NORMAL, Annotations, Builder, Fault
from boxwright.data.files import Tree, composed, is_image, join, stem
from boxwright.data.lists import readings, resolve
from boxwright.data.readers.parsing import head_of
from boxwright.data.readers.reader import Reader, ReaderOptions
from boxwright.data.readers.voc_lists import find_lists
from boxwright.data.readers.voc_xml import RefusedXml, VocFile, parse_voc
from boxwright.data.splits import LAYOUT_FOLDERS, folder_splits
from boxwright.errors import DataError
from boxwright.parts import reader

_FOLDERS = {"annotations", "annots"}
_PROBED = 20  # XML files looked into for one that is an annotation file
_SHAPES = {
    "polygon": ("box-from-polygon", "{} objects have a polygon and no <bndbox>: the boxes around them are read"),
    "robndbox": ("angle-lost", "{} objects are turned boxes: the upright boxes around them are read"),
}


@reader()
class VocReader(Reader):
    """Reads XML files beside their images or in folders of their own, and the lists of ImageSets/."""

    layout = "voc"
    title = "VOC"
    looks_for = "*.xml in Annotations/ or beside the images"
    written_by = (
        ("Pascal VOC, CVAT", "`Annotations/*.xml`, `JPEGImages/` or `images/`, `ImageSets/Main/<split>.txt`"),
        ("VOCdevkit", "`VOC2007/`, `VOC2012/` ..., each as above"),
        ('labelImg, Roboflow "Pascal VOC"', "an `.xml` beside each image"),
    )
    unlisted = "has no annotation file"

    def __init__(self, tree: Tree, files: list[str], one_based: bool | None) -> None:
        self._files = files
        self._one_based = one_based
        self._homes = _grouped_by_stem(files)
        self._by_stem = _grouped_by_stem(tree.images_below())
        self._images = tree.folder(".", "jpegimages", "images")
        self._lists, known = find_lists(tree)
        self._folders = {} if self._lists else folder_splits(files)
        super().__init__(tree, tuple(self._lists or self._folders))
        self.sources.update(known, *self._lists.values())

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> VocReader | None:
        """Return the reader for a folder of XML files and one of images, or for VOC's XML files anywhere."""
        files = [path for path in tree.below() if path.lower().endswith(".xml")]
        usual = tree.folder(".", "annotations", "annots") and tree.folder(".", "jpegimages", "images")
        if files and (usual or any(_is_annotation(tree, path) for path in files[:_PROBED])):
            return cls(tree, files, options.voc_one_based)
        return None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a folder of annotations without any, or XML of another kind."""
        stems = {stem(path) for path in tree.images_below()}
        files = [path for path in tree.below() if path.lower().endswith(".xml") and stem(path) in stems]
        if files:
            return f"{files[0]} is called as an image, but {_why_not(tree, files[0])}"
        if cvat := next(
            (path for path in tree.below() if path.lower().endswith(".xml") and _is_of_cvat(tree, path)), None
        ):
            return f"{cvat} is CVAT's own XML, which isn't read: export Pascal VOC, COCO or YOLO"
        folder = tree.folder(".", "annotations", "annots")
        return f"{folder}/ has no .xml" if folder and tree.folder(".", "jpegimages") else None

    def split_file(self, split: str) -> str:
        """Return the first list of a split, or the folder of its files."""
        return next(iter(self._lists[split])) if self._lists else posixpath.dirname(self._folders[split][0])

    def read(self, splits: Sequence[str]) -> Annotations:
        """Read all images, whatever ``splits``: classes are those of the whole data set. Faults are of the splits."""
        builder = Builder()
        parsed = {path: file for path in self._files if (file := self._parse(path, builder))}
        placed = [(self._image_of(path, file, builder), path, file) for path, file in parsed.items()]
        names = sorted({thing.name for file in parsed.values() for thing in file.objects if thing.name})
        labels = {name: label for label, name in enumerate(names)}
        shapes: Counter[str] = Counter()
        for image, path, file in sorted(((i, p, f) for i, p, f in placed if i), key=lambda item: item[:2]):
            if builder.names and builder.names[-1] == image:
                builder.leave_out("listed-twice", path, f"{image} has its boxes in {builder.files[-1]} already")
            elif (state := self.tree.state(image)) == "special":
                builder.leave_out("unreadable-image", image, NO_FILE, path)
            else:
                builder.add_image(image, path, file.size, state == "there")
                self._add_boxes(file, labels, builder)
                shapes.update(thing.shape for thing in file.objects)
        for shape, (kind, text) in _SHAPES.items():
            if shapes[shape]:
                first = next(path for path, file in parsed.items() if shape in {thing.shape for thing in file.objects})
                builder.note(kind, first, text.format(shapes[shape]))
        members = self._members(builder)
        table = builder.build(self.tree.root, self.layout, tuple(names))
        table.splits = {split: np.array(sorted(found), np.int64) for split, found in members.items()}
        if splits:
            table.faults = self._faults_of(splits, table)
        return table

    def _faults_of(self, splits: Sequence[str], table: Annotations) -> list[Fault]:
        """Return the faults of files that these splits list."""
        lists = {path: lines for split in splits for path, lines in self._lists.get(split, {}).items()}
        stems = {_list_stem(name) for lines in lists.values() for line in lines for name in readings(line)}
        inside = {path for split in splits for path in self._folders.get(split, ())}
        return [f for f in table.faults if f.file in lists or f.file in inside or stem(f.file) in stems]

    def _members(self, builder: Builder) -> dict[str, set[int]]:
        """Rows of each split; what is listed in vain is a fault."""
        rows = {file: row for row, file in enumerate(builder.files)}
        if not self._lists:
            return {name: {rows[file] for file in files if file in rows} for name, files in self._folders.items()}
        members: dict[str, set[int]] = {}
        by_stem = _grouped_by_stem(rows)
        for split, lists in self._lists.items():
            members[split] = set()
            for path, lines in lists.items():
                found, lost = resolve(lines, lambda name, path=path: _listed(name, path, by_stem))  # type: ignore[misc]
                members[split].update(rows[file] for files in found for file in files)
                self._miss(lost, path, builder)
        return members

    def _miss(self, lost: list[str], file: str, builder: Builder) -> None:
        """Say which listed names lead outside, or to neither an annotation file nor an image (that is an orphan)."""
        annotated = {stem(path) for path in self._files}
        for line in sorted(set(lost)):
            stems = {_list_stem(name) for name in readings(line)}
            if all(self.tree.tidy(name) is None for name in readings(line)):
                builder.leave_out("path-outside", file, f"{line} leaves the data set's folder")
            elif not stems & annotated and not stems & self._by_stem.keys():
                text = f"{line} is listed, but there is neither an image nor an annotation file of that name"
                builder.leave_out("missing-image", file, text)

    def _add_boxes(self, file: VocFile, labels: dict[str, int], builder: Builder) -> None:
        shift = 1.0 if (file.original if self._one_based is None else self._one_based) else 0.0
        for number, thing in enumerate(file.objects):
            left, top, right, bottom = thing.xyxy
            builder.add_box(
                number,
                (left - shift, top - shift, right, bottom),
                (right - left, bottom - top),
                labels.get(thing.name, -1),
                DIFFICULT if thing.difficult else NORMAL,
            )

    def _parse(self, path: str, builder: Builder) -> VocFile | None:
        """Parse the file; None if it can't be read, which is a fault, or is XML of another kind."""
        if self.tree.state(path) == "outside":
            builder.leave_out("path-outside", path, "is a link out of the data set's folder")
            return None
        try:
            file = parse_voc(self.tree.read(path))
        except RefusedXml as error:
            builder.leave_out("refused", path, str(error))
            return None
        except DataError as error:
            builder.leave_out("unreadable-annotation", path, str(error))
            return None
        folders = {part.lower() for part in path.split("/")[:-1]}
        return file if file.tag == "annotation" or folders & _FOLDERS else None

    def _image_of(self, path: str, file: VocFile, builder: Builder) -> str | None:
        """Path of the image: the one with the XML file's stem, else <filename>; None where that leads outside."""
        named = file.filename.replace("\\", "/")
        base = posixpath.basename(named)
        own = self._own_image(path, base)
        folder = self._images or posixpath.dirname(path)
        places = (join(folder, named), named, posixpath.join(posixpath.dirname(path), named))
        states = {place: self.tree.state(place) for place in places} if named else {}
        there = [self.tree.tidy(place) for place, state in states.items() if state == "there" and is_image(base)]
        foreign = posixpath.isabs(named) or named[1:2] == ":"
        if not there and "outside" in states.values() and not (foreign and own):
            link = next((f", a link to {self.tree.links[p]}" for p in states if p in self.tree.links), "")
            text = f"<filename> {named} leaves the data set{link}"
            builder.leave_out("path-outside", path, text, *filter(None, [own]))
            return None
        if own is None:
            home = posixpath.dirname(path)
            far = self.tree.nearest(named, home) if is_image(base) and stem(base) != stem(path) else None
            return there[0] if there else far or join(folder, base or stem(path) + ".jpg")
        if there and stem(base) != stem(path):
            text = f"<filename> is {named}, but {own} has the annotation's name and is taken"
            builder.note("name-mismatch", path, text)
        if self.tree.state(own) == "outside":
            builder.leave_out("path-outside", own, "is a link out of the data set's folder", path)
            return None
        return own

    def _own_image(self, path: str, base: str) -> str | None:
        """Find the image with a file's stem in the folder named as the file's, or anywhere if no other file has it."""
        home = _home(path)
        alike = [(_home(image), image) for image in self._by_stem.get(stem(path), ())]
        taken = {_home(file) for file in self._homes.get(stem(path), ())} - {home}
        near = [image for place, image in alike if place == home] or [i for place, i in alike if place not in taken]
        return min(near, key=lambda image: posixpath.basename(image) != base, default=None)


def _is_annotation(tree: Tree, path: str) -> bool:
    try:
        return parse_voc(tree.read(path)).tag == "annotation"
    except DataError:
        return False


def _why_not(tree: Tree, path: str) -> str:
    try:
        parse_voc(tree.read(path))
    except DataError as error:
        return f"is {error}"
    return "its root isn't <annotation>"


def _is_of_cvat(tree: Tree, path: str) -> bool:
    return re.search(r"<annotations>\s*<version>", head_of(tree, path)) is not None


def _home(path: str) -> tuple[str, ...]:
    """Return the folders of a file or image, without those that only say which of the two it is."""
    return tuple(part for part in path.split("/")[:-1] if part.lower() not in LAYOUT_FOLDERS)


def _grouped_by_stem(paths: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(stem(path), []).append(path)
    return groups


def _list_stem(name: str) -> str:
    """Return the last part of a listed name, without the suffix of an image or annotation file."""
    base = posixpath.basename(name.replace("\\", "/"))
    return stem(base) if is_image(base) or base.lower().endswith(".xml") else composed(base)


def _listed(name: str, file: str, by_stem: dict[str, list[str]]) -> list[str] | None:
    """Find the annotation files that a listed name means; of several, those in the folders it or the list names."""
    found = by_stem.get(_list_stem(name))
    if found is None or len(found) == 1:
        return found
    home, beside = _home(name.replace("\\", "/")), _home(file)[: -1 - ("main" in file.lower().split("/"))]
    named = [path for path in found if home and _home(path)[-len(home) :] == home]
    return named or [path for path in found if _home(path)[: len(beside)] == beside] or found
