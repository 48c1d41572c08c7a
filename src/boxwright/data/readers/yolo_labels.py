"""YOLO's label files: which is an image's, and what a line of one says."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from boxwright.data.files import Tree, composed, join, stem

IMAGE_FOLDERS = ("images", "jpegimages")
_NAN = float("nan")
_UNREADABLE = ((_NAN, _NAN), (_NAN, _NAN))

REMARKS = {
    "polygon": ("box-from-polygon", "{} lines are polygons: the boxes around them are read"),
    "corners": (
        "angle-lost",
        "{} lines have four corners: the upright boxes around them are read, their angles are lost",
    ),
    "commas": ("odd-columns", "{} lines have commas between their numbers: they are read without them"),
    "columns": (
        "odd-columns",
        "{} lines have more than 5 columns: class and box are the first five, the rest isn't read",
    ),
}
"""Kind and message for each oddity of a line; said once, with how many lines have it."""


class YoloLine(NamedTuple):
    """One box as fractions of the image; NaN where unreadable."""

    label: int
    center: tuple[float, float]
    size: tuple[float, float]
    oddities: tuple[str, ...] = ()
    """Keys of ``REMARKS``."""


def parse_line(line: str) -> YoloLine:
    """Parse a line of a label file: a class and four numbers, or a class and a polygon of at least three corners."""
    commas = ("commas",) if "," in line or ";" in line else ()
    words = _without_commas(line) if commas else line.split()
    numbers = [_float(word) for word in words]
    label = int(numbers[0]) if numbers[0].is_integer() else -1
    count = len(numbers)
    if count == 5:
        return YoloLine(label, (numbers[1], numbers[2]), (numbers[3], numbers[4]), commas)
    if count >= 7 and count % 2:
        x, y = numbers[1::2], numbers[2::2]
        if all(map(_is_finite, numbers)):
            left, right, top, bottom = min(x), max(x), min(y), max(y)
            oddities = (*commas, "corners" if count == 9 else "polygon")
            return YoloLine(label, ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top), oddities)
    elif count >= 6:
        return YoloLine(label, (numbers[1], numbers[2]), (numbers[3], numbers[4]), (*commas, "columns"))
    return YoloLine(label, *_UNREADABLE, commas)


def _without_commas(line: str) -> list[str]:
    """Words of a line whose numbers have commas between or, where there are five of them, for points."""
    words = [word.strip(",") for word in line.replace(";", " ").split()]
    return [word.replace(",", ".") for word in words] if len(words) == 5 else " ".join(words).replace(",", " ").split()


def label_path(image: str) -> str:
    """Return an image's label file: the last folder "images" becomes "labels"; without one, beside the image."""
    folders = posixpath.dirname(image).split("/")
    for place in reversed(range(len(folders))):
        if folders[place].lower() == "images":
            folders[place] = "labels" if folders[place].islower() else "Labels"
            break
    return "/".join(part for part in (*folders, stem(image) + ".txt") if part)


class LabelFiles:
    """Finds the label files of images.

    In labels/ beside images/ before those beside the picture; ``a.txt`` before ``a.png.txt``; in any case of letters.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._names: dict[str, dict[str, list[str]]] = {}

    def of(self, image: str) -> list[str]:
        """Label files of an image, the one that counts first."""
        name = posixpath.basename(image)
        found = [
            join(folder, file)
            for folder in self.folders(posixpath.dirname(image))
            for wanted in (f"{stem(name)}.txt", f"{name}.txt")
            for file in self._spelled(folder, wanted)
        ]
        return list(dict.fromkeys(found))

    def folders(self, folder: str) -> Iterator[str]:
        """Folders in which the labels of the images of ``folder`` may be."""
        parts = folder.split("/")
        for place in reversed(range(len(parts))):
            if parts[place].lower() in IMAGE_FOLDERS:
                labels = self.tree.folder("/".join(parts[:place]) or ("." if place == 0 else "/"), "labels")
                if labels:
                    yield "/".join([labels, *parts[place + 1 :]])
        yield folder or "."

    def _spelled(self, folder: str, wanted: str) -> list[str]:
        """Files of a folder that are called so: in the same letters, else in any case where only one is."""
        names = self._names.get(folder)
        if names is None:
            grouped = defaultdict(list)
            for name in self.tree.files(folder, ".txt"):
                grouped[composed(name).lower()].append(name)
            names = self._names[folder] = dict(grouped)
        alike = names.get(composed(wanted).lower(), [])
        exact = [name for name in alike if stem(name) == stem(wanted)]
        return sorted(exact, key=lambda name: name != wanted) or (alike if len(alike) == 1 else [])


def count_oddities(lines: Mapping[str, list[YoloLine]]) -> dict[str, tuple[int, str]]:
    """Number of lines with each oddity, and the first file that has it."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for file, content in lines.items():
        for line in content:
            for oddity in line.oddities:
                counts[oddity] += 1
                first.setdefault(oddity, file)
    return {oddity: (count, first[oddity]) for oddity, count in counts.items()}


def _is_finite(number: float) -> bool:
    return number - number == 0


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return _NAN
