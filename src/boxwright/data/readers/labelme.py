"""labelme's JSON: a file an image, beside it or in a folder of its own.

Keys as labelme writes them (github.com/wkentaro/labelme, labelme/label_file.py; X-AnyLabeling writes the same and a
few more): shapes with label, points and shape_type, imagePath, imageHeight, imageWidth. imageData is passed over.
"""

from __future__ import annotations

import math
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from boxwright.data.files import State, Tree, composed, join, stem
from boxwright.data.readers.listing import NAN, Box, Listing, ListingReader, class_name, corners, number_of, side_of
from boxwright.data.readers.parsing import candidates, head_of, parse_json
from boxwright.data.readers.pictures import find_picture
from boxwright.data.readers.reader import ReaderOptions
from boxwright.errors import DataError
from boxwright.parts import reader

_UPRIGHT = ("rectangle", "mask")  # a mask's points are the corners of its box
_REMARKS = {
    "box-from-polygon": "{} shapes are polygons, circles or the like: the boxes around them are read",
    "angle-lost": "{} shapes are turned boxes: the upright boxes around them are read",
}
_NO_OUTLINES = ("point", "points", "line", "linestrip")
_PROBED = 20  # files that are looked into for one of labelme's


class LabelmeShape(msgspec.Struct):
    """One entry of ``shapes``."""

    label: Any = None
    points: Any = None
    shape_type: Any = None


class LabelmeFile(msgspec.Struct, rename="camel"):
    """Content of a file, as far as it is used."""

    shapes: list[LabelmeShape]
    image_path: str
    image_height: Any = None
    image_width: Any = None


@reader()
class LabelmeReader(ListingReader):
    """Reads labelme's files: the boxes around their shapes."""

    layout = "labelme"
    title = "labelme"
    looks_for = "<image>.json with shapes"
    written_by = (("labelme, AnyLabeling, X-AnyLabeling", "a `.json` beside each image, or in a folder of its own"),)
    unlisted = "has no JSON file"
    named_by_split = False
    shared_files = False

    def __init__(self, tree: Tree, files: Sequence[str]) -> None:
        self._beside: dict[str, list[str]] = defaultdict(list)
        for path in tree.images_below():
            self._beside[posixpath.splitext(composed(path))[0]].append(path)
        self._stems = {stem(path) for path in tree.images_below()}
        self._shapes: dict[str, list[str]] = {}
        super().__init__(tree, files)
        for kind, found in self._shapes.items():
            self._found.note(kind, found[0], _REMARKS[kind].format(len(found)))

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> LabelmeReader | None:
        """Return the reader if a JSON file named like an image is one of labelme's."""
        stems = {stem(path) for path in tree.images_below()}
        files = candidates(tree, ".json")
        alike = [path for path in files if stem(path) in stems]
        return cls(tree, files) if any(_is_labelme(tree, path) for path in alike[:_PROBED]) else None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a file that has only one of the two keys that are needed."""
        for file in candidates(tree, ".json"):
            head = head_of(tree, file)
            keys = [key for key in ("shapes", "imagePath") if f'"{key}"' in head]
            if keys:
                return f"{file} has {' and '.join(keys)}, but isn't called as an image or is incomplete"
        return None

    def listings(self, file: str) -> Iterable[Listing]:
        """Yield the image of a file, if it is one of labelme's."""
        try:
            content = parse_json(self.tree.read(file), LabelmeFile)
        except DataError:
            if stem(file) not in self._stems:
                self.sources.discard(file)  # JSON of another kind
                return
            raise
        boxes = [(place, box) for place, shape in enumerate(content.shapes) if (box := self._box(file, place, shape))]
        yield Listing(content.image_path, boxes, (side_of(content.image_height), side_of(content.image_width)))

    def locate(self, listing: Listing, file: str) -> tuple[str, State]:
        """Find the image beside the file that has its name, or the one that ``imagePath`` leads to."""
        beside = self.images_of(file)
        base = posixpath.basename(listing.picture.replace("\\", "/"))
        if not beside or join(posixpath.dirname(file), base) in beside:
            return find_picture(self.tree, listing.picture, posixpath.dirname(file))
        if stem(base) != stem(file):
            text = f"imagePath is {listing.picture}, but {beside[0]} has the file's name and is taken"
            self.drop("name-mismatch", file, None, text)
        return beside[0], self.tree.state(beside[0])

    def split_file(self, split: str) -> str:
        """Return the folder of a split's files."""
        return posixpath.dirname(super().split_file(split))

    def images_of(self, file: str) -> list[str]:
        """Find the images beside a file that have its name."""
        return self._beside.get(posixpath.splitext(composed(file))[0], [])

    def _box(self, file: str, place: int, shape: LabelmeShape) -> Box | None:
        """Compute the upright box around a shape; None, and a finding, for points and lines."""
        kind = str(shape.shape_type or "polygon")
        if kind in _NO_OUTLINES:
            self.drop("not-a-box", file, place, f"is a {kind}, which has no box")
            return None
        if kind not in _UPRIGHT:
            self._shapes.setdefault("angle-lost" if kind == "rotation" else "box-from-polygon", []).append(file)
        name = class_name(shape.label)
        points = shape.points if isinstance(shape.points, list) else []
        x, y = ([number_of(p[axis]) if _is_pair(p) else NAN for p in points] for axis in (0, 1))
        if len(points) < 2 or not all(map(math.isfinite, x + y)):
            return corners(name, NAN, NAN, NAN, NAN)
        if kind == "circle":  # center, and a point of the edge
            radius = math.hypot(x[1] - x[0], y[1] - y[0])
            return corners(name, x[0] - radius, y[0] - radius, x[0] + radius, y[0] + radius)
        return corners(name, min(x), min(y), max(x), max(y))


def _is_pair(point: object) -> bool:
    return isinstance(point, list) and len(point) >= 2


def _is_labelme(tree: Tree, path: str) -> bool:
    try:
        parse_json(tree.read(path), LabelmeFile)
    except DataError:
        return False
    return True
