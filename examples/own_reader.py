"""A reader of one's own: boxes in the table ``boxes`` of a SQLite file, as a labeling tool of one's own may keep them.

boxwright check DATA --reader own_reader:read_sqlite
boxwright train DATA --reader own_reader:read_sqlite
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

import boxwright as bw


@bw.reader(form="size")
def read_sqlite(root: Path, file: str = "labels.db") -> Iterator[bw.LabelledImage]:
    """Read a row a box: image, split, label, x, y, width, height; an image without objects has one row of nulls."""
    with closing(sqlite3.connect(f"file:{root / file}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT image, split, label, x, y, width, height FROM boxes ORDER BY image, rowid")
        for (image, split), group in groupby(rows, key=lambda row: row[:2]):
            boxes = [(label, numbers) for _, _, label, *numbers in group if label is not None]
            yield bw.LabelledImage(image, [box for _, box in boxes], [label for label, _ in boxes], split)
