"""What every reader is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from boxwright.data.annotations import Annotations, Fault
from boxwright.data.files import Tree, is_image
from boxwright.parts import ReaderInfo, reader_info


@dataclass(frozen=True)
class ReaderOptions:
    """Options for what the files leave open."""

    voc_one_based: bool | None = None
    """Whether VOC boxes count pixels from 1; None: those do whose <source><database> is Pascal VOC's."""
    allow_links: bool = False
    """Whether to follow links, and paths of data.yaml, out of the data set's folder."""
    config: str | None = None
    """The YAML file of YOLO's kind that is meant, by its name in the folder; None for the one that is found."""
    max_pixels: int | None = None
    """Images of more are refused; None: of more than Pillow's limit."""
    reader: ReaderPart | None = None
    """Reader of the folder: a custom function, or the reader of one layout; None: the first that recognizes it."""
    group_by: str | None = None
    """Rule for images that go together when a split is made, see ``boxwright.data.grouping.grouped``."""
    split_file: str | Path | None = None
    """The file, or the run, whose splits count instead of the data's own; see ``read_split_file``."""


FINDING = ("allow_links", "group_by", "split_file")
"""The options that say where the images of a split are, and that no recipe has."""


def finding(options: Any) -> dict[str, Any]:
    """Take the reader's options from those of a run or a comparison, named as ``read_dataset`` names them."""
    return {name: getattr(options, name) for name in FINDING}


ReaderPart = Callable[..., "Iterable[Any] | Reader"]
"""A custom reader, ``root -> images``, or one of the classes below, with or without bound options."""


class Reader(ABC):
    """Reads one layout: a subclass in a file of its own."""

    layout: str
    """The layout's name."""
    title: str
    """Name in messages and in the documentation."""
    looks_for: str
    """The files that it is known by, in one line."""
    written_by: ClassVar[tuple[tuple[str, str], ...]]
    """Tools that write it, and what then lies in the folder."""
    unlisted: str
    """Message about an image that lies in the data set's folder and isn't read."""

    def __init__(self, tree: Tree, splits: tuple[str, ...]) -> None:
        self.tree = tree
        self.splits = splits
        """Names of the splits; empty where the data has none."""
        self.sources: set[str] = set()
        """Files that are used and are no image's annotation file: lists, class names, configurations."""

    @property
    def info(self) -> ReaderInfo:
        """Declaration of the layout's boxes."""
        return reader_info(type(self))

    @classmethod
    @abstractmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Say what of the layout lies in a folder of no layout, and what is missing; None where nothing of it does."""

    @abstractmethod
    def read(self, splits: Sequence[str]) -> Annotations:
        """Read at least the images of these splits, all for none; ``splits`` of the table says which are whose."""

    @abstractmethod
    def split_file(self, split: str) -> str:
        """Return the file, or the folder, that says which images a split has."""

    def examine(self) -> list[Fault]:
        """Look for what only a check takes the time for; everything has been read before."""
        return []

    def leftover(self, path: str) -> Fault:
        """Say what a file is that lies in the data set's folder and that reading it all didn't use."""
        if is_image(path.rpartition("/")[2]):
            return Fault("orphan-image", path, None, self.unlisted)
        return Fault("unused-file", path, None, f"is not used by a {self.title} data set")
