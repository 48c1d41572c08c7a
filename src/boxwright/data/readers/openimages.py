"""Open Images' tables: a row a box, with the corners as fractions of the image.

storage.googleapis.com/openimages/web/download.html: ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,
IsTruncated,IsGroupOf ... in <split>-annotations-bbox.csv; class-descriptions*.csv has the names of LabelName's codes.
FiftyOne has the same in <split>/labels/detections.csv and metadata/classes.csv, CVAT in annotations/.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from boxwright.data.annotations import CROWD, NORMAL
from boxwright.data.files import State, Tree, composed, stem
from boxwright.data.readers.listing import Box, Listing, ListingReader, by_picture, class_name, number_of
from boxwright.data.readers.parsing import candidates, columns_of, first_row, head_of, lacking, read_rows
from boxwright.data.readers.pictures import find_picture
from boxwright.data.readers.reader import ReaderOptions
from boxwright.data.splits import folder_splits
from boxwright.parts import reader

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = {"imageid", "labelname", *_SIDES}


@reader(fractions=True)
class OpenImagesReader(ListingReader):
    """Reads Open Images' tables of boxes; groups of objects are crowds."""

    layout = "openimages"
    title = "Open Images"
    looks_for = "a CSV file with ImageID, LabelName, XMin, XMax, YMin, YMax"
    written_by = (
        ("Open Images, CVAT", "`<split>-annotations-bbox.csv`, `class-descriptions*.csv`, images called as their ids"),
        ("FiftyOne", "`<split>/labels/detections.csv`, `<split>/metadata/classes.csv`, `<split>/data/`"),
    )

    def __init__(
        self, tree: Tree, files: Sequence[str], descriptions: Sequence[str] = (), max_pixels: int | None = None
    ) -> None:
        self._descriptions = frozenset(descriptions)
        self._names: dict[str, str] = {}
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in tree.images_below():
            self._by_stem[stem(path)].append(path)
        self._homes = {path: split for split, paths in folder_splits(tree.images_below()).items() for path in paths}
        super().__init__(tree, (*descriptions, *files), max_pixels)

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> OpenImagesReader | None:
        """Return the reader if a table has these columns."""
        firsts = {path: first_row(head_of(tree, path)) for path in candidates(tree, ".csv")}
        files = [path for path, row in firsts.items() if columns_of(row).keys() >= _COLUMNS]
        descriptions = [path for path, row in firsts.items() if _describes(path, row)]
        return cls(tree, files, descriptions, options.max_pixels) if files else None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a table that lacks some of the columns."""
        return lacking(tree, _COLUMNS)

    def listings(self, file: str) -> Iterable[Listing]:
        """Rows, brought together by image; none of the classes' descriptions, which are remembered."""
        if file not in self._descriptions:
            return by_picture(self._rows(file))
        for code, name in (row for row in read_rows(self.tree, file) if len(row) == 2):
            self._names.setdefault(code, class_name(name))
        return ()

    def locate(self, listing: Listing, file: str) -> tuple[str, State]:
        """Find the image named by the id; of several the one in the split's folder."""
        found = self._by_stem.get(composed(posixpath.basename(listing.picture)), [])
        if not found:
            return find_picture(self.tree, f"{listing.picture}.jpg", posixpath.dirname(file))
        split = self._splits_of.get(file)
        path = next((path for path in found if self._homes.get(path) == split), found[0])
        return path, self.tree.state(path)

    def _rows(self, file: str) -> Iterator[tuple[str, tuple[int, int], int, Box | None]]:
        rows = read_rows(self.tree, file)
        columns = columns_of(next(rows))
        for number, row in enumerate(rows):
            cells = {name: row[place] for name, place in columns.items() if place < len(row)}
            left, top, right, bottom = (number_of(cells.get(side)) for side in _SIDES)
            code = cells.get("labelname", "")
            name = self._names.get(code, class_name(code))
            group = CROWD if cells.get("isgroupof") == "1" else NORMAL
            box = Box(name, (left, top, right, bottom), (right - left, bottom - top), group)
            yield cells.get("imageid", ""), (0, 0), number, box


def _describes(path: str, row: list[str]) -> bool:
    """Tell whether a table's first row is a class's code and name, or the header above them."""
    return len(row) == 2 and (row[0].startswith("/") or row == ["LabelName", "DisplayName"])
