"""Hugging Face's ImageFolder with boxes: metadata.jsonl or metadata.csv beside the images.

huggingface.co/docs/datasets/image_dataset: a line has file_name, relative to its own folder, and objects with bbox
([x, y, width, height] in pixels) and categories; the folders are the splits. A table has the objects as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from boxwright._util.reading import as_text
from boxwright.data.files import Tree
from boxwright.data.readers.listing import NAN, Box, Listing, ListingReader, class_name, number_of, side_of, sized
from boxwright.data.readers.parsing import candidates, columns_of, first_row, head_of, parse_json, read_rows
from boxwright.data.readers.reader import ReaderOptions
from boxwright.errors import DataError
from boxwright.parts import reader

_BOXES = ("bbox", "bboxes", "boxes")
_CLASSES = ("categories", "category", "labels", "label", "classes", "class", "category_id", "class_id")


@reader(form="size")
class ImageFolderReader(ListingReader):
    """Reads the boxes of metadata.jsonl and metadata.csv."""

    layout = "imagefolder"
    title = "Hugging Face ImageFolder"
    looks_for = "metadata.jsonl or metadata.csv with file_name and objects"
    written_by = (
        (
            "Hugging Face datasets",
            "`metadata.jsonl` or `.csv` with `file_name` and `objects` beside the images",
        ),
    )
    named_by_split = False

    def __init__(self, tree: Tree, files: Sequence[str]) -> None:
        self._numbers: set[int] = set()
        super().__init__(tree, files)
        if self._numbers:
            names = ", ".join(map(str, sorted(self._numbers)[:5]))
            more = ", ..." if len(self._numbers) > 5 else ""
            text = f"classes have numbers and no names: they are called {names}{more}"
            self._found.note("no-class-names", self.files[0], text)

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> ImageFolderReader | None:
        """Return the reader if a metadata file has images with objects."""
        files = [path for path in candidates(tree, "metadata.jsonl") if _has_objects(head_of(tree, path))]
        tables = candidates(tree, "metadata.csv")
        files += [path for path in tables if {"file_name", "objects"} <= set(first_row(head_of(tree, path)))]
        return cls(tree, files) if files else None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a metadata file without objects, or in Parquet."""
        for suffix in ("metadata.jsonl", "metadata.csv"):
            for file in candidates(tree, suffix):
                return f"{file} has no file_name and objects in its first line"
        parquet = candidates(tree, ".parquet")
        return f"{parquet[0]} is Parquet, which isn't read: save it as images and metadata.jsonl" if parquet else None

    def listings(self, file: str) -> Iterable[Listing]:
        """Yield one image per line."""
        number = 0
        for line in self._rows(file) if file.lower().endswith(".csv") else self._lines(file):
            boxes = [(number + place, box) for place, box in enumerate(self._boxes(line.get("objects")))]
            number += len(boxes)
            yield Listing(
                str(line.get("file_name") or ""), boxes, (side_of(line.get("height")), side_of(line.get("width")))
            )

    def _lines(self, file: str) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(as_text(self.tree.read(file)).split("\n"), 1):
            if line.strip():
                try:
                    yield parse_json(line.encode("utf-8", "surrogateescape"), dict[str, Any])
                except DataError as error:
                    self.drop("unreadable-annotation", file, None, f"line {number}: {error}")

    def _rows(self, file: str) -> Iterator[dict[str, Any]]:
        rows = read_rows(self.tree, file)
        columns = columns_of(next(rows, []))
        for number, row in enumerate(rows, 2):
            line: dict[str, Any] = {name: row[place] for name, place in columns.items() if place < len(row)}
            try:
                line["objects"] = parse_json((line.get("objects") or "null").encode("utf-8", "surrogateescape"), Any)
                yield line
            except DataError as error:
                self.drop("unreadable-annotation", file, None, f"line {number}: objects: {error}")

    def _boxes(self, objects: Any) -> Iterator[Box]:
        """Boxes of a dict of lists, or of a list of dicts, one an object."""
        if isinstance(objects, dict):
            boxes, names = (_first_list(objects, keys) for keys in (_BOXES, _CLASSES))
            pairs: Iterable[tuple[Any, Any]] = zip_longest(boxes, names)
        else:
            entries = [entry for entry in objects if isinstance(entry, dict)] if isinstance(objects, list) else []
            pairs = ((_first(entry, _BOXES), _first(entry, _CLASSES)) for entry in entries)
        for box, name in pairs:
            if isinstance(name, int):
                self._numbers.add(name)
            numbers = [number_of(value) for value in box] if isinstance(box, list) and len(box) == 4 else [NAN] * 4
            yield sized(class_name(name), *numbers)


def _has_objects(head: str) -> bool:
    """Tell whether the first line of metadata.jsonl is an image with objects."""
    line = head.lstrip().partition("\n")[0]
    return line.startswith("{") and '"file_name"' in line and '"objects"' in line


def _first(entry: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((entry[key] for key in keys if key in entry), None)


def _first_list(entry: dict[str, Any], keys: Iterable[str]) -> list[Any]:
    value = _first(entry, keys)
    return value if isinstance(value, list) else []
