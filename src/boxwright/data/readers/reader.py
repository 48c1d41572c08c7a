"""What every reader is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from boxwright.data.annotations import Annotations, Fault
from boxwright.data.files import Tree


@dataclass(frozen=True)
class ReaderOptions:
    """How to read what the files leave open."""

    voc_one_based: bool | None = None
    """Whether VOC boxes count pixels from 1; None: those do whose <source><database> is Pascal VOC's."""


class Reader(ABC):
    """Reads one layout: a subclass in a file of its own."""

    layout: ClassVar[str]
    """The layout's name."""
    looks_for: ClassVar[str]
    """The files that it is known by, in one line."""
    tree: Tree
    splits: tuple[str, ...]
    """Names of the splits; empty where the data has none."""

    @abstractmethod
    def read(self, splits: Sequence[str]) -> Annotations:
        """Read at least the images of these splits, all for none; ``splits`` of the table says which are whose."""

    @abstractmethod
    def split_file(self, split: str) -> str:
        """Return the file, or the folder, that says which images a split has."""

    @abstractmethod
    def orphans(self, table: Annotations) -> list[Fault]:
        """Find images without annotations and annotations without images; ``table`` is of all splits."""
