"""Names of splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from boxwright.errors import DataError
from boxwright.text import did_you_mean

HASHED = ("train", "val", "test")
"""The splits of data that has none of its own."""
SPLIT_FILE = "split.json"
"""Name of the file in a run that names the images of each split."""
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
        DataError: Naming the existing splits.
    """
    for name in (split, canonical(split), canonical(_YEAR.sub("", split))):
        if name in available:
            return name
    known = did_you_mean(split, available)
    if split == "test" and "val" in available:
        known += ", which --split val measures on"
    raise DataError(f"{root}: no split {split!r}{known}")
