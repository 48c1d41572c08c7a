"""Which layout a folder has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from boxwright.data.annotations import Annotations, Fault
from boxwright.data.coco import CocoReader
from boxwright.data.files import Tree
from boxwright.data.splits import HASHED
from boxwright.data.voc import VocReader
from boxwright.data.yolo import YoloReader
from boxwright.errors import DataError


class Reader(Protocol):
    """What the readers of all layouts can do."""

    layout: str
    tree: Tree

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; empty where the data has none."""

    def read(self, splits: Sequence[str]) -> Annotations:
        """At least the images of these splits, all for none; ``splits`` of the table says which are whose."""

    def split_file(self, split: str) -> str:
        """The file, or the folder, that says which images a split has."""

    def orphans(self, table: Annotations) -> list[Fault]:
        """Images without annotations and annotations without images; ``table`` is of all splits."""


def open_layout(path: str | Path, voc_one_based: bool | None = None) -> Reader:
    """The reader for a folder: YOLO where there is a data.yaml, else COCO, VOC, YOLO by folders, any COCO file.

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
    reader: Reader | None = None
    if any(name in tree.entries(".") for name in ("data.yaml", "data.yml")):
        reader = YoloReader.detect(tree)
    reader = reader or CocoReader.detect(tree) or VocReader.detect(tree, voc_one_based)
    reader = reader or YoloReader.detect(tree) or CocoReader.detect(tree, named=False)
    if reader is None:
        raise DataError(
            f"{path}: no data set found; looked for Annotations/*.xml with JPEGImages/ or images/ (VOC), "
            "annotations/*.json, <split>/_annotations.coco.json or <split>.json (COCO), "
            "data.yaml or images/ with labels/ (YOLO)"
        )
    return reader


def available_splits(path: str | Path) -> tuple[str, ...]:
    """Names that ``split`` may have; train, val and test where boxwright makes them.

    Raises:
        DataError: as :func:`boxwright.read_dataset`.
    """
    splits = open_layout(path).splits
    return (*(name for name in HASHED if name in splits), *(s for s in splits if s not in HASHED)) if splits else HASHED
