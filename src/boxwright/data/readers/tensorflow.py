"""The table of TensorFlow's Object Detection API: a row a box, with the corners in pixels.

filename,width,height,class,xmin,ymin,xmax,ymax, as its users' xml_to_csv.py writes them (train_labels.csv) and
Roboflow's "Tensorflow Object Detection" export (roboflow.com/formats/tensorflow-object-detection-csv):
<split>/_annotations.csv beside the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from boxwright.data.files import Tree
from boxwright.data.readers.listing import (
    Box,
    Listing,
    ListingReader,
    by_picture,
    class_name,
    corners,
    number_of,
    side_of,
)
from boxwright.data.readers.parsing import candidates, columns_of, first_row, head_of, lacking, read_rows
from boxwright.data.readers.reader import ReaderOptions
from boxwright.parts import reader

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = {"filename", "class", *_CORNERS}


@reader()
class TensorflowReader(ListingReader):
    """Reads tables with filename, class and corners."""

    layout = "tensorflow"
    title = "TensorFlow CSV"
    looks_for = "a CSV file with filename, class, xmin, ymin, xmax, ymax"
    written_by = (
        (
            "xml_to_csv.py of the Object Detection API",
            "`<split>_labels.csv`: `filename`, `class`, `xmin` ...; images anywhere",
        ),
        ('Roboflow "Tensorflow Object Detection"', "`<split>/_annotations.csv` beside the images"),
    )

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> TensorflowReader | None:
        """Return the reader if a table has these columns."""
        files = [p for p in candidates(tree, ".csv") if columns_of(first_row(head_of(tree, p))).keys() >= _COLUMNS]
        return cls(tree, files) if files else None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a table that lacks some of the columns."""
        return lacking(tree, _COLUMNS)

    def listings(self, file: str) -> Iterable[Listing]:
        """Rows, brought together by image."""
        return by_picture(self._rows(file))

    def _rows(self, file: str) -> Iterator[tuple[str, tuple[int, int], int, Box | None]]:
        rows = read_rows(self.tree, file)
        columns = columns_of(next(rows))
        for number, row in enumerate(rows):
            cells = {name: row[place] for name, place in columns.items() if place < len(row)}
            size = side_of(cells.get("height")), side_of(cells.get("width"))
            numbers = [number_of(cells.get(side)) for side in _CORNERS]
            yield cells.get("filename", ""), size, number, corners(class_name(cells.get("class")), *numbers)
