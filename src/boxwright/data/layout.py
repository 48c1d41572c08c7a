"""Find out which layout a folder has."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from boxwright._util.reading import escaped
from boxwright.data import readers
from boxwright.data.files import Tree, join
from boxwright.data.leftovers import may_annotate
from boxwright.data.made_splits import SplitReader
from boxwright.data.readers.coco import CocoReader
from boxwright.data.readers.createml import CreateMLReader
from boxwright.data.readers.imagefolder import ImageFolderReader
from boxwright.data.readers.labelme import LabelmeReader
from boxwright.data.readers.listing import ListingReader
from boxwright.data.readers.openimages import OpenImagesReader
from boxwright.data.readers.own import OwnReader
from boxwright.data.readers.reader import Reader, ReaderOptions, ReaderPart
from boxwright.data.readers.retinanet import RetinanetReader
from boxwright.data.readers.tensorflow import TensorflowReader
from boxwright.data.readers.voc import VocReader
from boxwright.data.readers.yolo import YoloReader
from boxwright.data.splits import HASHED, find_split
from boxwright.errors import DataError


def _others() -> tuple[type[Any], ...]:
    """List the readers of ``data/readers/`` that are not listed below: they are asked last."""
    for module in iter_modules(readers.__path__):
        import_module(f"{readers.__name__}.{module.name}")
    found = (*Reader.__subclasses__(), *ListingReader.__subclasses__())
    return tuple(each for each in found if "part_info" in vars(each) and each.__name__ not in globals())


OTHERS = _others()

READERS: tuple[type[Reader], ...] = (
    VocReader,
    CocoReader,
    YoloReader,
    LabelmeReader,
    ImageFolderReader,
    CreateMLReader,
    TensorflowReader,
    OpenImagesReader,
    RetinanetReader,
    *OTHERS,
)
"""The layouts that can be read, as messages and docs/data.md list them."""

DETECTORS: tuple[Callable[[Tree, ReaderOptions], Reader | None], ...] = (
    YoloReader.detect_config,
    CocoReader.detect,
    VocReader.detect,
    YoloReader.detect,
    ImageFolderReader.detect,
    TensorflowReader.detect,
    OpenImagesReader.detect,
    LabelmeReader.detect,
    CreateMLReader.detect,
    CocoReader.detect_any,
    RetinanetReader.detect,
    *(other.detect for other in OTHERS),
)
"""Readers in the order in which they are asked: those that recognize a file's own name come before those that recognize
folders.
"""

NEAREST: tuple[type[Reader], ...] = (
    ImageFolderReader,
    CocoReader,
    LabelmeReader,
    CreateMLReader,
    TensorflowReader,
    OpenImagesReader,
    RetinanetReader,
    VocReader,
    YoloReader,
    *OTHERS,
)
"""Order in which readers are asked about a folder that has none of the layouts: files before folders."""

_MOST_FOUND = 3  # files or folders that a message names
_MOST_TRIED = 100  # folders in which a data set is looked for


def title_of(layout: str) -> str:
    """Return a layout's name in messages; for a custom reader its own name."""
    return next((reader.title for reader in READERS if reader.layout == layout), layout)


def open_layout(path: str | Path, options: ReaderOptions | None = None) -> Reader:
    """Open the reader for a folder.

    Raises:
        DataError: If there is no such folder, or it has none of the layouts.
    """
    root, options = Path(path), options or ReaderOptions()
    if root.suffix.lower() in (".yaml", ".yml") and root.is_file():
        root, options = root.parent, replace(options, config=root.name)
    if not root.exists():
        raise DataError(f"{path}: no such folder")
    if not root.is_dir():
        raise DataError(f"{path}: Expected a folder with images and annotations but got a file")
    tree = Tree(root, options.allow_links)
    if not tree.entries("."):
        raise DataError(f"{path}: the folder is empty")
    if options.reader is not None and chosen_layout(options.reader) is None:
        return OwnReader(tree, options)
    reader = _detect(tree, options) or _detect(Tree(root, options.allow_links, own=True), options)
    if reader is None:
        raise DataError(f"{path}: {_nothing_found(tree, options)}")
    return reader


def open_with_splits(path: str | Path, options: ReaderOptions | None = None) -> Reader:
    """Open the reader for a folder, with splits from a file if one is named, or made ones if the data has none.

    Raises:
        DataError: As ``open_layout``; for a file without splits; for ``group_by`` if the data has splits.
    """
    options = options or ReaderOptions()
    reader = open_layout(path, options)
    if options.split_file is not None:
        return SplitReader(reader, file=Path(options.split_file))
    if not reader.splits:
        return SplitReader(reader, options.group_by)
    if options.group_by is not None:
        names = ", ".join(reader.splits)
        raise DataError(
            f"{path}: --group-by is for data without splits; this has {names}, and --split-file gives others"
        )
    return reader


def _detect(tree: Tree, options: ReaderOptions) -> Reader | None:
    layout = chosen_layout(options.reader)
    detectors = (YoloReader.detect_config,) if options.config else DETECTORS
    if layout is not None:
        detectors = tuple(detect for detect in detectors if getattr(detect, "__self__", None) is layout)
    return next(filter(None, (detect(tree, options) for detect in detectors)), None)


def chosen_layout(reader: ReaderPart | None) -> type[Reader] | None:
    """Return the built-in reader that is requested; None for automatic choice or a custom function."""
    while isinstance(reader, partial):
        reader = reader.func
    return reader if isinstance(reader, type) and issubclass(reader, Reader) else None


def _nothing_found(tree: Tree, options: ReaderOptions) -> str:
    """Say where a data set is, or what was looked for, and what was found on the way."""
    if (layout := chosen_layout(options.reader)) is not None:
        found = layout.nearly(tree) or f"looked for {layout.looks_for}"
        return f"no {layout.title} data set found: {found}"
    if inside := list(islice(_data_sets_below(tree), _MOST_FOUND)):
        them = "that folder" if len(inside) == 1 else "one of these folders"
        return f"no data set found, but there is {' and '.join(inside)}: give {them}"
    near = ((reader, reader.nearly(tree)) for reader in NEAREST)
    nearest = next((f"nearest is {reader.title}: {text}" for reader, text in near if text), None)
    if nearest is None:
        nearest = "looked for " + ", ".join(f"{reader.looks_for} ({reader.title})" for reader in READERS)
    links = [f"{escaped(link)} leads to {escaped(target)}" for link, target in sorted(tree.links.items())]
    allow = f"{'; '.join(links[:3])}, outside the folder: --allow-links follows it" if links else ""
    return "; ".join(filter(None, ["no data set found", *tree.remarks, allow, _unknown(tree, nearest), nearest]))


def _unknown(tree: Tree, nearest: str) -> str:
    """Name the first files that might be annotations, except those that the message already names."""
    files = [path for path in tree.below() if may_annotate(path)]
    known = {posixpath.splitext(path)[1] for path in files if path in nearest}
    others = [escaped(path) for path in files if posixpath.splitext(path)[1] not in known][:_MOST_FOUND]
    are = "is" if len(others) == 1 else "are"
    return f"{', '.join(others)} {are} of no kind that is read" if others else ""


def _data_sets_below(tree: Tree) -> Iterator[str]:
    """List folders that would be data sets, each with its layout, without looking inside them."""
    waiting = deque(_folders_in(tree, "."))
    for _ in range(_MOST_TRIED):
        if not waiting:
            return
        path = waiting.popleft()
        try:
            reader = _detect(Tree(tree.root / path), ReaderOptions())
        except DataError:  # a data.yaml that can't be understood
            continue
        if reader:
            yield f"a {reader.title} data set in {escaped(path)}"
        else:
            waiting.extend(_folders_in(tree, path))


def _folders_in(tree: Tree, folder: str) -> list[str]:
    names = (name for name, kind in sorted(tree.entries(folder).items()) if kind == "folder")
    return [path for name in names if not name.startswith((".", "__")) and tree.entries(path := join(folder, name))]


def available_splits(
    path: str | Path,
    *,
    allow_links: bool = False,
    reader: ReaderPart | None = None,
    group_by: str | None = None,
    split_file: str | Path | None = None,
) -> tuple[str, ...]:
    """List the names that ``split`` may have; train, val and test if boxwright makes them.

    Raises:
        DataError: As ``boxwright.read_dataset``.
    """
    options = ReaderOptions(allow_links=allow_links, reader=reader, group_by=group_by, split_file=split_file)
    splits = open_with_splits(path, options).splits
    return (*(name for name in HASHED if name in splits), *(name for name in splits if name not in HASHED))


def check_splits(path: str | Path, *splits: str, **options: Any) -> None:
    """Raise DataError if a folder has none of the layouts, or lacks one of these splits.

    ``options``: those of ``available_splits``.
    """
    available = available_splits(path, **options)
    for split in splits:
        find_split(available, split, Path(path))
