"""A split for data that has none, and any split that stands in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxwright._util.own_files import read_own_json
from boxwright._util.reading import escaped
from boxwright.data.annotations import SOUND, Annotations, Fault
from boxwright.data.grouping import grouped
from boxwright.data.readers.reader import Reader
from boxwright.data.splits import HASHED, SPLIT_FILE
from boxwright.errors import DataError
from boxwright.text import plural

_SHARES = (0.8, 0.1, 0.1)
_TOLERANCE = 0.25
"""Part of its share of a class by which a split may miss it, where only hashes of names decide."""
_NAMED = 3  # images that a message names
_UNPLACED = -1

Splits = dict[str, NDArray[np.int64]]


def make_splits(table: Annotations, group_by: str | None = None) -> Splits:
    """Split 80 / 10 / 10 by the hash of each group's smallest file name, so that images stay where they are.

    ``group_by``: what goes together, see ``boxwright.data.grouping.grouped``. Groups are parted class by class, the
    rarest first: where the hashes give val or test less than three quarters or more than five quarters of its share of
    a class, the groups beside the border change sides, and both get one group at least of a class that has three.
    A group of more than an eighth of all images is train's, if others are left. Fewer than three groups are all train.

    Returns:
        Rows of the images of train, val and test.
    """
    groups = grouped(table.root, table.paths, group_by)
    if len(groups) < len(HASHED):
        return {name: np.arange(len(table.paths) if name == "train" else 0) for name in HASHED}
    place = np.array(hashed_groups(groups, table.paths))
    size = np.array([len(rows) for rows in groups])
    large = size > len(table.paths) * min(_SHARES) * (1 + _TOLERANCE)
    home = np.where(large, HASHED.index("train"), _UNPLACED)
    for having in by_rarity(table, groups):
        members = having[home[having] == _UNPLACED]
        members = members[np.argsort(place[members])]
        placed = np.bincount(home[having][home[having] != _UNPLACED], minlength=len(HASHED))
        home[members] = np.repeat(np.arange(len(HASHED)), _counts(place[members], placed))
    for split in reversed(range(len(HASHED))):
        if not (home == split).any():  # large groups alone, or classes with one or two images each
            train = np.flatnonzero(home == np.bincount(home).argmax())
            home[train[np.lexsort((-place[train], size[train]))[0]]] = split
    rows = {split: [row for group in np.flatnonzero(home == split) for row in groups[group]] for split in range(3)}
    return {name: np.array(sorted(rows[split]), np.int64) for split, name in enumerate(HASHED)}


def _counts(places: NDArray[np.float64], placed: NDArray[np.int64]) -> list[int]:
    """Count the groups of a class for train, val and test: of those at ``places`` in [0, 1), beside those placed."""
    count, least = len(places) + int(placed.sum()), 1 if len(places) + placed.sum() >= len(HASHED) else 0
    hashed = placed + np.bincount(np.searchsorted(np.cumsum(_SHARES)[:-1], places, side="right"), minlength=len(HASHED))
    new: list[int] = []
    for split in (2, 1):
        wish = count * _SHARES[split]
        low, high = max(least, np.ceil(wish * (1 - _TOLERANCE))), max(least, np.floor(wish * (1 + _TOLERANCE)))
        new.append(int(np.clip(np.clip(hashed[split], low, high) - placed[split], 0, len(places) - sum(new))))
    test, val = new
    return [len(places) - val - test, val, test]


def by_rarity(table: Annotations, groups: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """Places of the groups that have a class, for each class, the rarest first; then of those without objects."""
    of_image = np.full(len(table.paths), -1, np.int64)
    for group, rows in enumerate(groups):
        of_image[list(rows)] = group
    sound = (table.fault == SOUND) & (table.labels >= 0) & (of_image[table.image] >= 0)
    pairs = np.unique(np.stack([table.labels[sound], of_image[table.image[sound]]], 1), axis=0)  # (p, 2), by class
    counts = np.bincount(pairs[:, 0], minlength=len(table.classes))
    having = np.split(pairs[:, 1], np.cumsum(counts)[:-1]) if len(counts) else []
    empty = np.setdiff1d(np.arange(len(groups)), pairs[:, 1])
    return [having[label] for label in np.argsort(counts, kind="stable").tolist()] + [empty]


def deal_out(table: Annotations, groups: Sequence[Sequence[int]], folds: int) -> list[NDArray[np.int64]]:
    """Rows of the images of each fold: groups are dealt out class by class, the rarest first, in the order of hashes.

    So the folds of a class differ by one group of it, but for what its images have of rarer classes.
    """
    place = np.array(hashed_groups(groups, table.paths))
    dealt: list[int] = []
    for having in by_rarity(table, groups):
        members = np.setdiff1d(having, dealt)
        dealt += members[np.argsort(place[members])].tolist()
    return [np.array(sorted(row for group in dealt[fold::folds] for row in groups[group])) for fold in range(folds)]


def hashed_groups(groups: Sequence[Sequence[int]], paths: Sequence[str]) -> list[float]:
    """The place in [0, 1) of each group: the hash of its smallest file name."""
    return [hashed_fraction(min(Path(paths[row]).name for row in rows)) for rows in groups]


def hashed_fraction(name: str) -> float:
    """Uniform in [0, 1) by the name."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=6).digest()) / 2**48


class SplitReader(Reader):
    """Reads what another reader does, and parts it: by a file, else by ``make_splits``."""

    def __init__(self, reader: Reader, group_by: str | None = None, file: Path | None = None) -> None:
        self._listed = None if file is None else read_split_file(file)
        super().__init__(reader.tree, HASHED if self._listed is None else tuple(self._listed))
        self.layout, self.title, self.unlisted = reader.layout, reader.title, reader.unlisted
        self.sources = reader.sources
        self.file = file
        self.has_others = bool(reader.splits)
        self._reader, self._group_by = reader, group_by
        self._made: Splits | None = None

    @property
    def info(self) -> Any:
        """Declaration of the other reader."""
        return self._reader.info

    @classmethod
    def nearly(cls, tree: Any) -> str | None:
        """Nothing: it is never looked for."""
        return None

    def split_file(self, split: str) -> str:
        """The file of the splits, or the whole folder."""
        return "." if self.file is None else str(self.file)

    def examine(self) -> list[Fault]:
        """Return the faults that the other reader finds."""
        return self._reader.examine()

    def leftover(self, path: str) -> Fault:
        """Return the fault that the other reader names."""
        return self._reader.leftover(path)

    def read(self, splits: Sequence[str]) -> Annotations:
        """All images; which are whose is found out where ``splits`` are asked for."""
        table = self._reader.read(())
        if not splits:
            return replace(table, splits={})
        if self._made is None:
            self._made = make_splits(table, self._group_by) if self._listed is None else self._rows(table)
        return replace(table, splits=self._made)

    def _rows(self, table: Annotations) -> Splits:
        """Rows of the listed images; what doesn't fit is noted in the table."""
        listed, file = self._listed or {}, str(self.file)
        rows = {name: row for row, name in enumerate(map(escaped, table.names))}
        absent = [name for names in listed.values() for name in names if name not in rows]
        if len(absent) == sum(map(len, listed.values())):
            known = f"{table.root} has {table.names[0]}" if table.names else f"{table.root} has no image"
            raise DataError(f"{file}: none of its images is in the data: it names {absent[0]}, {known}")
        for name in absent:
            table.faults.append(Fault("missing-image", file, None, f"no image {name}"))
        for name in sorted(rows.keys() - {name for names in listed.values() for name in names}):
            text = f"is in no split of {file}"
            table.notes.append(Fault("no-split", table.paths[rows[name]], None, text))
        return {
            split: np.array(sorted(rows[name] for name in set(names) if name in rows), np.int64)
            for split, names in listed.items()
        }


def read_split_file(path: Path) -> dict[str, list[str]]:
    """Read the names of the images of each split: {"splits": {"train": ["a.jpg", ...], ...}}; a run has one.

    Raises RecipeError where the file can't be read, DataError where it holds something else.
    """
    path = path / SPLIT_FILE if path.is_dir() else path
    content = read_own_json(path)
    splits = content.get("splits") if isinstance(content, Mapping) else None
    if not isinstance(splits, Mapping) or not splits or not all(_is_list_of_names(names) for names in splits.values()):
        example = '{"splits": {"train": ["a.jpg"], "val": ["b.jpg"]}}'
        raise DataError(f"{path}: Expected splits with the names of their images, as in {example}")
    listed: dict[str, list[str]] = {str(split): list(names) for split, names in splits.items()}
    for split, names in listed.items():
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            more = "" if len(twice) <= _NAMED else f" and {plural(len(twice) - _NAMED, 'other')}"
            raise DataError(f"{path}: split {split!r} names {', '.join(twice[:_NAMED])}{more} twice")
    return listed


def _is_list_of_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) and name for name in names)


def split_names(table: Annotations) -> dict[str, list[str]]:
    """The names of the images of each split, as ``read_split_file`` takes them."""
    return {split: [escaped(table.names[row]) for row in rows.tolist()] for split, rows in table.splits.items()}
