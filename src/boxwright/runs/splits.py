"""The splits that a run was trained with, if the data does not define them: split.json."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from boxwright._util.own_files import read_own_json
from boxwright._util.ownership import GENERATOR
from boxwright._util.reading import escaped
from boxwright._util.writing import write_json
from boxwright.data.layout import open_layout, open_with_splits
from boxwright.data.made_splits import SplitReader, read_split_file, split_names
from boxwright.data.readers.reader import ReaderOptions, ReaderPart
from boxwright.runs.run import Run

_TRIED = 100  # images by which data is known again


def keep_splits(path: Path, data: Path, options: Mapping[str, Any]) -> None:
    """Write the names of the images of each split if they are made, or come from a file.

    ``options``: those of ``read_dataset`` that say where images and splits are. Raises DataError and WriteError.
    """
    known = ReaderOptions.__dataclass_fields__
    source = open_with_splits(data, ReaderOptions(**{name: value for name, value in options.items() if name in known}))
    if isinstance(source, SplitReader):
        splits = split_names(source.read(source.splits))
        content = {"generator": GENERATOR, "group_by": options.get("group_by"), "own": source.has_others}
        write_json(path, {**content, "splits": splits})


def split_file_for(
    run: Run, data: str | Path, *, reader: ReaderPart | None = None, allow_links: bool = False
) -> Path | None:
    """Return the run's split.json if the data defines no splits, so that no training image is tested.

    None where the run has none, or it is of other data. Raises DataError and RecipeError.
    """
    if not run.split_file.is_file():
        return None
    source = open_layout(data, ReaderOptions(allow_links=allow_links, reader=reader))
    if bool(source.splits) != read_own_json(run.split_file).get("own"):
        return None
    names = list(islice(chain.from_iterable(read_split_file(run.split_file).values()), _TRIED))
    same = any((source.tree.root / name).is_file() for name in names)
    if not same:  # COCO's names are within a folder for images, so that the annotations have to be read
        same = not set(names).isdisjoint(map(escaped, source.read(()).names))
    return run.split_file if same else None
