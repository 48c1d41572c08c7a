"""keras-retinanet's tables without a header: a row a box, and a second table of the classes.

github.com/fizyr/keras-retinanet, README.md, "CSV datasets": path/to/image.jpg,x1,y1,x2,y2,class_name in pixels from 0,
the path relative to the table; an image without objects has a row of its path and five empty cells. The classes'
table is class_name,id from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from boxwright.data.files import Tree, is_image
from boxwright.data.readers.listing import Box, Listing, ListingReader, by_picture, class_name, corners, number_of
from boxwright.data.readers.parsing import candidates, first_row, head_of, read_rows
from boxwright.data.readers.reader import ReaderOptions
from boxwright.parts import reader


@reader()
class RetinanetReader(ListingReader):
    """Reads tables of paths, corners and classes."""

    layout = "retinanet"
    title = "keras-retinanet CSV"
    looks_for = "a CSV file with path,x1,y1,x2,y2,class and no header"
    written_by = (("keras-retinanet, pytorch-retinanet", "`<split>.csv` without a header, `classes.csv`"),)

    def __init__(self, tree: Tree, files: Sequence[str], classes: Sequence[str] = ()) -> None:
        self._class_files = frozenset(classes)
        self._classes: list[str] = []
        super().__init__(tree, (*classes, *files))

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> RetinanetReader | None:
        """Return the reader if the first row of a table without a header is a box of an image."""
        firsts = {path: first_row(head_of(tree, path)) for path in candidates(tree, ".csv")}
        files = [path for path, row in firsts.items() if _is_box(row)]
        classes = [path for path, row in firsts.items() if len(row) == 2 and row[0] and row[1].isdecimal()]
        return cls(tree, files, classes) if files else None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a table of paths with other columns."""
        for file in candidates(tree, ".csv"):
            row = first_row(head_of(tree, file))
            if row and _names_image(row[0]):
                return f"{file} begins with {','.join(row)[:80]!r}, where path,x1,y1,x2,y2,class is due"
        return None

    def class_names(self, used: set[str]) -> Sequence[str]:
        """Return the classes by their ids in the table of classes, or without one those that occur."""
        return self._classes or super().class_names(used)

    def listings(self, file: str) -> Iterable[Listing]:
        """Rows, brought together by image; none of the classes' table, which is remembered."""
        if file not in self._class_files:
            return by_picture(self._rows(file))
        classes = _classes(self.tree, file)
        self._classes = self._classes or classes
        if classes != self._classes:
            self.sources.discard(file)
        return ()

    def _rows(self, file: str) -> Iterator[tuple[str, tuple[int, int], int, Box | None]]:
        for number, row in enumerate(read_rows(self.tree, file)):
            path, *cells = row
            empty = not any(cells)
            left, top, right, bottom = (number_of(cell) for cell in (*cells, "", "", "", "")[:4])
            box = None if empty else corners(class_name(cells[4] if len(cells) > 4 else ""), left, top, right, bottom)
            yield path, (0, 0), number, box


def _is_box(row: list[str]) -> bool:
    if len(row) != 6 or not _names_image(row[0]):
        return False
    return not any(row[1:]) or all(number_of(cell) == number_of(cell) for cell in row[1:5])


def _names_image(cell: str) -> bool:
    return is_image(cell.replace("\\", "/").rpartition("/")[2])


def _classes(tree: Tree, file: str) -> list[str]:
    rows = [row for row in read_rows(tree, file) if len(row) == 2 and row[1].isdecimal()]
    return [class_name(name) for name, _ in sorted(rows, key=lambda row: int(row[1]))]
