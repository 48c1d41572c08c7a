"""The files that make up a data set, which no command replaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boxwright.data.files import is_image
from boxwright.data.layout import open_layout
from boxwright.data.leftovers import leftovers
from boxwright.data.readers.reader import ReaderOptions, ReaderPart


def referred_files(path: str | Path, *, allow_links: bool = False, reader: ReaderPart | None = None) -> Iterator[Path]:
    """Every file that is read of a data set, or that it names: lists, annotations and images, the faulty ones too.

    Nothing is read before the first is asked for.

    Raises:
        DataError: as ``boxwright.read_dataset``.
    """
    source = open_layout(path, ReaderOptions(allow_links=allow_links, reader=reader))
    table = source.read(())
    splits = map(source.split_file, source.splits)
    faults = (fault.file for fault in (*table.faults, *table.notes))
    unread = (fault.file for fault in leftovers(source, table) if fault.kind != "boxwright-output")
    pictures = filter(is_image, unread)
    for name in {*source.sources, *splits, *table.paths, *table.files, *table.accounted, *faults, *pictures}:
        yield source.tree.root / name
