"""Names of splits, and a split for data that has none."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxwright._util.reading import read_regular
from boxwright.errors import DataError
from boxwright.text import did_you_mean

HASHED = ("train", "val", "test")
_SHARES = (0.8, 0.9, 1.0)  # upper ends of train, val, test
_ALIASES = {"valid": "val", "validation": "val"}
LAYOUT_FOLDERS = frozenset({"images", "jpegimages", "labels", "annotations", "annots", "xml", "xmls", "data"})
"""Names, in lower case, of folders that say what lies in them and not which images."""
_YEAR = re.compile(r"[_-]?(?:19|20)\d\d$")


def canonical(name: str) -> str:
    """The split's name as boxwright says it: valid is val, and Train is train."""
    lower = name.lower()
    return _ALIASES.get(lower, lower if lower in HASHED else name)


def without_years(names: Iterable[str]) -> dict[str, str]:
    """Canonical split for each name, without the year (train2017 is train) where that leaves them distinct."""
    names = list(names)
    short = [canonical(_YEAR.sub("", name)) for name in names]
    return {n: s if s and short.count(s) == 1 else canonical(n) for n, s in zip(names, short, strict=True)}


def is_split_name(name: str) -> bool:
    """Whether a name begins as those of splits do: train, valid, test2017, train_fold1."""
    return _first_word(name) in {*HASHED, "trainval", "minival", "dev"}


def split_folders(path: str) -> set[str]:
    """The splits that folders of a path are called as: val of a/valid2017/images, train and val of trainval."""
    words = {_first_word(part) for part in path.split("/") if is_split_name(part)}
    return words - {"trainval"} | ({"train", "val"} if "trainval" in words else set())


def _first_word(name: str) -> str:
    return canonical(re.split(r"[\W_\d]", name, maxsplit=1)[0].lower())


def folder_splits(paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths by the split whose folder they lie in: train/images/x.jpg, images/train/x.jpg. Empty for data without.

    The first folder that tells paths apart and isn't called as a layout's own folders are is the split, where at least
    one is called as splits are. What lies in no such folder is in no split.
    """
    folders = {path: [part for part in path.split("/")[:-1] if part.lower() not in LAYOUT_FOLDERS] for path in paths}
    told = [parts for parts in folders.values() if parts]
    depth = 0
    while told and len(told) == len(folders) and len({tuple(parts[: depth + 1]) for parts in told}) == 1:
        if depth >= len(told[0]) or is_split_name(told[0][depth]):
            break
        depth += 1
    groups: dict[str, list[str]] = {}
    for path, parts in folders.items():
        if len(parts) > depth:
            groups.setdefault(parts[depth], []).append(path)
    if not any(map(is_split_name, groups)):
        return {}
    splits: dict[str, list[str]] = {}
    for name, group in groups.items():
        splits.setdefault(canonical(name), []).extend(group)
    return splits


def find_split(available: Sequence[str], split: str, root: Path) -> str:
    """The available split that is meant.

    Raises:
        DataError: naming the splits that there are.
    """
    for name in (split, canonical(split), canonical(_YEAR.sub("", split))):
        if name in available:
            return name
    raise DataError(f"{root}: no split {split!r}{did_you_mean(split, available)}")


def hashed_splits(root: Path, paths: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """80 / 10 / 10 by the BLAKE2b hash of the file name, so that an image stays where it is when others come.

    Byte-identical images go together, by the name that sorts first. Where one would be empty, the images with the
    highest hashes of the fullest fill it; fewer than three distinct images are all train.

    Returns:
        Rows of ``paths`` (relative to ``root``) of train, val and test.
    """
    groups = identical_files(root, paths)
    place = {rows[0]: hashed_fraction(min(Path(paths[row]).name for row in rows)) for rows in groups}
    homes: dict[str, list[int]] = {name: [] for name in HASHED}
    if len(groups) < len(HASHED):
        return {name: np.arange(len(paths) if name == "train" else 0) for name in HASHED}
    for first, value in sorted(place.items(), key=lambda item: item[1]):
        homes[HASHED[int(np.searchsorted(_SHARES, value, side="right"))]].append(first)
    for name in reversed(HASHED):
        if not homes[name]:
            homes[name].append(max(homes.values(), key=len).pop())
    members = {rows[0]: rows for rows in groups}
    return {
        name: np.array(sorted(row for first in firsts for row in members[first]), np.int64)
        for name, firsts in homes.items()
    }


def identical_files(root: Path, paths: Sequence[str]) -> list[list[int]]:
    """Rows of byte-identical files, in groups; a file that can't be read is alone. Only equal sizes are compared."""
    by_size: Mapping[object, list[int]] = _group((_size(root / path, row), row) for row, path in enumerate(paths))
    groups: list[list[int]] = []
    for rows in by_size.values():
        if len(rows) == 1:
            groups.append(rows)
        else:
            groups.extend(_group((_digest(root / paths[row], row), row) for row in rows).values())
    return groups


def _group(pairs: Iterable[tuple[object, int]]) -> dict[object, list[int]]:
    groups: dict[object, list[int]] = defaultdict(list)
    for key, row in pairs:
        groups[key].append(row)
    return groups


def _size(path: Path, row: int) -> object:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return ("alone", row)


def _digest(path: Path, row: int) -> object:
    try:
        return blake2b(read_regular(path), digest_size=16).digest()
    except (OSError, ValueError):
        return ("alone", row)


def hashed_fraction(name: str) -> float:
    """Uniform in [0, 1) by the name."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=6).digest()) / 2**48
