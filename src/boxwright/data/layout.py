"""Which layout a folder has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from boxwright.data.files import Tree
from boxwright.data.readers.coco import CocoReader
from boxwright.data.readers.reader import Reader, ReaderOptions
from boxwright.data.readers.voc import VocReader
from boxwright.data.readers.yolo import YoloReader
from boxwright.data.splits import HASHED
from boxwright.errors import DataError

READERS: tuple[type[Reader], ...] = (VocReader, CocoReader, YoloReader)
"""The layouts that can be read, as messages and docs/data.md list them."""

DETECTORS: tuple[Callable[[Tree, ReaderOptions], Reader | None], ...] = (
    YoloReader.detect_config,
    CocoReader.detect,
    VocReader.detect,
    YoloReader.detect,
    CocoReader.detect_any,
)
"""They are asked in this order, what is told by a file's own name before what is told by folders."""


def open_layout(path: str | Path, options: ReaderOptions | None = None) -> Reader:
    """The reader for a folder.

    Raises:
        DataError: where there is no such folder, or it holds none of the layouts.
    """
    root = Path(path)
    if root.name in ("data.yaml", "data.yml") and root.is_file():
        root = root.parent
    if not root.exists():
        raise DataError(f"{path}: no such folder")
    if not root.is_dir():
        raise DataError(f"{path}: Expected a folder with images and annotations but got a file")
    tree = Tree(root)
    if not tree.entries("."):
        raise DataError(f"{path}: the folder is empty")
    found = (detect(tree, options or ReaderOptions()) for detect in DETECTORS)
    reader = next(filter(None, found), None)
    if reader is None:
        known = ", ".join(f"{reader.looks_for} ({reader.layout.upper()})" for reader in READERS)
        raise DataError(f"{path}: no data set found; looked for {known}")
    return reader


def available_splits(path: str | Path) -> tuple[str, ...]:
    """Names that ``split`` may have; train, val and test where boxwright makes them.

    Raises:
        DataError: as :func:`boxwright.read_dataset`.
    """
    splits = open_layout(path).splits
    return (*(name for name in HASHED if name in splits), *(s for s in splits if s not in HASHED)) if splits else HASHED
