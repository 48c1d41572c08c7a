"""The files that make up a data set, which no command replaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boxwright.data.layout import open_layout


def referred_files(path: str | Path) -> Iterator[Path]:
    """Every file that is read of a data set, or that it names: lists, annotations and images, the faulty ones too.

    Nothing is read before the first is asked for.

    Raises:
        DataError: as :func:`boxwright.read_dataset`.
    """
    reader = open_layout(path)
    table = reader.read(())
    splits = map(reader.split_file, reader.splits)
    faults = (fault.file for fault in (*table.faults, *table.notes, *reader.examine()))
    for name in {*reader.sources, *splits, *table.paths, *table.files, *faults}:
        yield reader.tree.root / name
