"""Readers of files that list pictures with boxes and the names of classes: what they share.

A subclass says which files those are and what one lists. Here the pictures are found, those that several files list
are brought together, and splits and classes are made of the whole.
"""

from __future__ import annotations

import posixpath
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from boxwright._util.reading import readable
from boxwright.data.annotations import NORMAL, Annotations, Builder, Fault
from boxwright.data.files import State, Tree, stem
from boxwright.data.images import RefusedImageError, image_size
from boxwright.data.readers.pictures import find_picture
from boxwright.data.readers.reader import Reader
from boxwright.data.splits import canonical, folder_splits, is_split_name
from boxwright.errors import DataError

NAN = float("nan")


class Box(NamedTuple):
    """One box as it is written."""

    name: str
    """The class."""
    xyxy: tuple[float, float, float, float]
    """Corners; NaN where unreadable."""
    extent: tuple[float, float]
    """Width and height."""
    code: int = NORMAL


class Listing(NamedTuple):
    """A picture and its boxes, as one file lists them."""

    picture: str
    """The path as written."""
    boxes: list[tuple[int, Box]]
    """With the place of each in the file."""
    size: tuple[int, int] = (0, 0)
    """(H, W); 0 where the file doesn't say."""


@dataclass
class Entry:
    """A picture with the boxes that belong to it."""

    file: str
    there: bool
    size: tuple[int, int]
    boxes: list[tuple[int, Box]]
    splits: tuple[str, ...] = ()


class ListingReader(Reader):
    """Reads files that list pictures with their boxes."""

    unlisted = "is listed in no annotation file"
    shared_files = True
    """Whether a file lists many pictures."""
    named_by_split = True
    """Whether the name of a file may say its split: train_labels.csv."""

    def __init__(self, tree: Tree, files: Sequence[str], max_pixels: int | None = None) -> None:
        super().__init__(tree, ())
        self._max_pixels = max_pixels
        self.files = tuple(files)
        self.sources.update(files)
        self._found = Builder()
        self._entries: dict[str, Entry] = {}
        self._splits_of = self._file_splits()
        self._copies: Counter[tuple[str, str]] = Counter()
        """Boxes of a file that another one has as well."""
        self._add_all()
        for (file, first), count in self._copies.items():
            self._found.note("listed-twice", file, f"has the same boxes ({count}) as {first}: they are read once")
        self._split_by_folders()
        self._split_files = {split: entry.file for entry in self._entries.values() for split in entry.splits}
        self.splits = tuple(self._split_files)

    @abstractmethod
    def listings(self, file: str) -> Iterable[Listing]:
        """Yield the pictures that a file lists. Raises DataError if it can't be read."""

    def locate(self, listing: Listing, file: str) -> tuple[str, State]:
        """Path and state of a listed picture."""
        return find_picture(self.tree, listing.picture, posixpath.dirname(file))

    def images_of(self, file: str) -> list[str]:
        """Find the pictures that a file is known to describe, when it can't be read."""
        return []

    def class_names(self, used: set[str]) -> Sequence[str]:
        """Return the classes in order: by name, or by number if their names are numbers."""
        return sorted(used, key=int) if all(map(str.isdecimal, used)) else sorted(used)

    def drop(self, kind: str, file: str, number: int | None, message: str) -> None:
        """Say what of a file isn't read, or that something is odd about it."""
        self._found.faults.append(Fault(kind, file, number, message))

    def split_file(self, split: str) -> str:
        """Return a file that lists pictures of a split."""
        return self._split_files[split]

    def read(self, splits: Sequence[str]) -> Annotations:
        """Read the pictures of these splits, each once, or all if none are given. Classes are those of all splits."""
        names = tuple(self.class_names({box.name for e in self._entries.values() for _, box in e.boxes if box.name}))
        labels = {name: label for label, name in enumerate(names)}
        faults = [f for f in self._found.faults if not splits or self._splits_of.get(f.file, splits[0]) in splits]
        builder = Builder(faults=faults, notes=list(self._found.notes))
        builder.accounted |= self._found.accounted
        rows: dict[str, list[int]] = {split: [] for split in splits or self.splits}
        for path, entry in sorted(self._entries.items()):
            wanted = [split for split in entry.splits if split in rows]
            if (wanted or not splits) and self._place(path, entry, labels, builder):
                for split in wanted:
                    rows[split].append(len(builder.names) - 1)
        table = builder.build(self.tree.root, self.layout, names)
        table.shared_files, table.fractions = self.shared_files, self.info.fractions
        table.splits = {split: np.array(found, np.int64) for split, found in rows.items()}
        return table

    def _file_splits(self) -> dict[str, str]:
        """Find the split that a file's folder or name mentions."""
        found = {file: split for split, files in folder_splits(self.files).items() for file in files}
        for file in self.files if self.named_by_split else ():
            if file not in found and (split := split_in_name(stem(file))):
                found[file] = split
        return found

    def _split_by_folders(self) -> None:
        """Give pictures whose files speak of no split the one that their folders do, and name those without any."""
        bare = [path for path, entry in self._entries.items() if not entry.splits]
        for split, paths in folder_splits(bare).items():
            for path in paths:
                self._entries[path].splits = (split,)
        without = [path for path in bare if not self._entries[path].splits]
        if without and len(without) < len(self._entries):
            for path in without:
                self._found.note("no-split", path, "is in no split, while other pictures are")

    def _add_all(self) -> None:
        for file in self.files:
            self._add_file(file)

    def _add_file(self, file: str) -> None:
        try:
            listings = list(self.listings(file))
        except DataError as error:
            self._found.leave_out("unreadable-annotation", file, str(error), *self.images_of(file))
            return
        splits = (self._splits_of[file],) if file in self._splits_of else ()
        for listing in listings:
            if not listing.picture.strip():
                self.drop(
                    "unreadable-annotation", file, listing.boxes[0][0] if listing.boxes else None, "names no image"
                )
                continue
            path, state = self.locate(listing, file)
            if state in ("there", "missing"):
                self._add(path, listing, Entry(file, state == "there", listing.size, listing.boxes, splits))
            else:
                text = "leads out of the data set's folder" if state == "outside" else "is no file"
                lost = f"; its boxes ({len(listing.boxes)}) are left out" if listing.boxes else ""
                self._found.leave_out("path-outside", file, f"{listing.picture} {text}{lost}", path)

    def _add(self, path: str, listing: Listing, entry: Entry) -> None:
        """Take a picture in. One that a file lists twice has the boxes of both; of two files, the first one's."""
        first = self._entries.setdefault(path, entry)
        if first is entry:
            return
        if first.file == entry.file:
            first.boxes += entry.boxes
            self._found.note("listed-twice", entry.file, f"{listing.picture} is listed twice; it has the boxes of both")
            return
        first.splits = tuple(dict.fromkeys((*first.splits, *entry.splits)))
        if [box for _, box in first.boxes] != [box for _, box in entry.boxes]:
            text = f"{listing.picture} has its boxes in {first.file} already; these ({len(entry.boxes)}) are left out"
            self._found.leave_out("listed-twice", entry.file, text)
        else:
            self._copies[entry.file, first.file] += len(entry.boxes)

    def _place(self, path: str, entry: Entry, labels: dict[str, int], builder: Builder) -> bool:
        """Add a picture and its boxes to the table; False where its size is needed and can't be read."""
        scale = (1, 1)
        if self.info.fractions and entry.there:
            try:
                scale = entry.size = image_size(self.tree.root / path, max_pixels=self._max_pixels)
            except DataError as error:
                kind = "refused" if isinstance(error, RefusedImageError) else "unreadable-image"
                builder.leave_out(kind, path, str(error).partition(": ")[2])
                return False
        height, width = scale
        builder.add_image(path, entry.file, entry.size, entry.there)
        for number, box in entry.boxes:
            left, top, right, bottom = box.xyxy
            corners = (left * width, top * height, right * width, bottom * height)
            builder.add_box(number, corners, box.extent, labels.get(box.name, -1), box.code)
        return True


def split_in_name(name: str) -> str | None:
    """Find the one split in a name: train_labels, oidv6-validation-annotations-bbox, val2017."""
    words = {canonical(word) for word in re.split(r"[\W_\d]+", name.lower()) if is_split_name(word)}
    return words.pop() if len(words) == 1 else None


def corners(name: str, left: float, top: float, right: float, bottom: float) -> Box:
    """Read a box that is written as its corners."""
    return Box(name, (left, top, right, bottom), (right - left, bottom - top))


def sized(name: str, left: float, top: float, width: float, height: float) -> Box:
    """Read a box that is written as a corner, width and height."""
    return Box(name, (left, top, left + width, top + height), (width, height))


def by_picture(rows: Iterable[tuple[str, tuple[int, int], int, Box | None]]) -> Iterable[Listing]:
    """Bring rows of a table together: path, (H, W), place and box of each; no box says that the picture is listed."""
    found: dict[str, Listing] = {}
    for picture, size, number, box in rows:
        listing = found.setdefault(picture, Listing(picture, [], size))
        if box:
            listing.boxes.append((number, box))
    return found.values()


def class_name(value: object) -> str:
    """Read the name of a class; empty if it is none."""
    if isinstance(value, str):
        return readable(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def number_of(value: object) -> float:
    """Read a number; NaN if it is none."""
    try:
        return float(value) if isinstance(value, str | int | float) else NAN
    except (ValueError, OverflowError):
        return NAN


def side_of(value: object) -> int:
    """Height or width of a picture; 0 for what is none."""
    number = number_of(value)
    return int(number) if 0 < number < 2**31 else 0
