"""Readers of people's own: a function that gives images with boxes, of data in whatever form."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from numbers import Integral
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple, cast

from boxwright._util.reading import escaped
from boxwright._util.tracebacks import described
from boxwright.data.annotations import CROWD, NORMAL
from boxwright.data.files import Tree, is_image
from boxwright.data.readers.listing import NAN, Box, Entry, Listing, ListingReader, class_name, corners, sized
from boxwright.data.readers.pictures import find_picture
from boxwright.data.readers.reader import ReaderOptions
from boxwright.data.splits import canonical
from boxwright.errors import DataError
from boxwright.parts import ReaderInfo, name_of, reader_info
from boxwright.values import shown


class LabelledImage(NamedTuple):
    """Result of a reader for each image; a plain tuple of the same values does as well."""

    path: str | PathLike[str]
    """Relative to the data set's folder, or absolute; nothing outside the folder is read."""
    boxes: Sequence[Sequence[float]]
    """(n, 4) numbers, of the form that the reader declares."""
    labels: Sequence[str | int]
    """The class of each box, by name."""
    split: str | None = None
    """train, val, test or another; None: by the folder train/, val/ ... that the image lies in, if any."""
    ignore: Sequence[bool] = ()
    """(n,) boxes that are no object to learn or to count, as crowds; empty: none is."""


class OwnReader(ListingReader):
    """Reads the result of a custom function, with the same findings as for any layout."""

    shared_files = False

    def __init__(self, tree: Tree, options: ReaderOptions) -> None:
        self._function = cast("Callable[[Path], Iterable[Any]]", options.reader)
        self._info = reader_info(self._function)
        self.layout = self.title = name_of(self._function)
        self.unlisted = f"is not given by {self.title}"
        super().__init__(tree, (), options.max_pixels)
        others = (path for path in tree.below() if not is_image(posixpath.basename(path)))
        self.sources.update(path for path in others if not tree.is_own(path))  # any of them may be what is read

    @property
    def info(self) -> ReaderInfo:
        """Declaration of the function's boxes."""
        return self._info

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Nothing: it is never looked for."""
        return None

    def listings(self, file: str) -> Iterable[Listing]:
        """Nothing: the function is asked, and no file."""
        return ()

    def split_file(self, split: str) -> str:
        """Return the folder: which file the function reads a split from isn't known."""
        return "."

    def class_names(self, used: set[str]) -> Sequence[str]:
        """Return the declared classes, or those that occur."""
        return self._info.classes or super().class_names(used)

    def _add_all(self) -> None:
        for written, split, boxes in self._images():
            path, state = find_picture(self.tree, written, "")
            if state in ("there", "missing"):
                splits = () if split is None else (canonical(split),)
                self._add(path, Listing(written, boxes), Entry(path, state == "there", (0, 0), boxes, splits))
            else:
                text = "leads out of the data set's folder" if state == "outside" else "is no file"
                lost = f"; its boxes ({len(boxes)}) are left out" if boxes else ""
                self._found.leave_out("path-outside", path, f"{escaped(written)} {text}{lost}", path)

    def _images(self) -> Iterator[tuple[str, str | None, list[tuple[int, Box]]]]:
        """Call the function for its images. Raises DataError, which names it, if it fails or returns something else."""
        given = 0
        try:
            images = self._function(self.tree.root)
            if not isinstance(images, Iterable):
                raise _Nonsense(f"Expected an iterable of images but got {shown(images)}")
            for item in images:
                given += 1
                image = _checked(item)
                yield fspath(image.path), image.split, list(enumerate(self._boxes(image)))
        except MemoryError:
            raise
        except Exception as error:
            at = f"image {given}: " if given and isinstance(error, _Nonsense) else ""
            raise DataError(f"{self.tree.root}: reader {self.title}: {at}{_reason(error, self._function)}") from None

    def _boxes(self, image: LabelledImage) -> Iterator[Box]:
        ignored = image.ignore if len(image.ignore) else [False] * len(image.boxes)
        for numbers, label, ignore in zip(image.boxes, image.labels, ignored, strict=True):
            name = str(int(label)) if isinstance(label, Integral) else class_name(label)
            x, y, z, w = _four(numbers)
            if self._info.form == "center":
                x, y = x - z / 2, y - w / 2
            box = corners(name, x, y, z, w) if self._info.form == "corners" else sized(name, x, y, z, w)
            yield box._replace(code=CROWD if ignore else NORMAL)


class _Nonsense(DataError):
    """A reader gave something that is no image."""


def _checked(item: Any) -> LabelledImage:
    """Validate the form of one image; wrong numbers are left for a check to report."""
    if not isinstance(item, tuple) or not 3 <= len(item) <= len(LabelledImage._fields):
        raise _Nonsense(f"Expected (path, boxes, labels) or a LabelledImage but got {shown(item)}")
    image = LabelledImage(*item)
    if not isinstance(image.path, str | PathLike) or not fspath(image.path):
        raise _Nonsense(f"Expected the path of an image but got {shown(image.path)}")
    if image.split is not None and (not isinstance(image.split, str) or not image.split):
        raise _Nonsense(f"Expected the name of a split, or None, but got {shown(image.split)}")
    sized = (hasattr(each, "__len__") and not isinstance(each, str) for each in (image.boxes, image.labels))
    if not all(sized) or len(image.boxes) != len(image.labels):
        raise _Nonsense(
            f"Expected as many labels as boxes of {shown(image.path)} but got {shown(image.boxes)} and "
            f"{shown(image.labels)}"
        )
    if len(image.ignore) not in (0, len(image.boxes)):
        raise _Nonsense(f"Expected ignore for each of {len(image.boxes)} boxes, or none, but got {len(image.ignore)}")
    return image


def _four(numbers: Any) -> tuple[float, float, float, float]:
    """Read the numbers of a box; NaN if there are not four."""
    try:
        x, y, z, w = map(float, numbers)
    except (TypeError, ValueError, OverflowError):
        return NAN, NAN, NAN, NAN
    return x, y, z, w


def _reason(error: Exception, function: Any) -> str:
    """Describe what went wrong, and the line of it where the function itself failed."""
    if isinstance(error, DataError):
        return str(error)
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return described(error, within="" if code is None else code.co_filename)
