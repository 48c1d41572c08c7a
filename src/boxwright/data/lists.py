"""Lists of images: a text file with one image per line, possibly followed by something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_FLAGGED = re.compile(r"(.*\S)\s+-?[01]")  # "000012 -1": Pascal VOC says so whether a class is in the image
_SEPARATORS = ("\t", ",", ";", None)

Found = TypeVar("Found")


def is_flagged(line: str) -> bool:
    """Tell whether a line ends in a flag: 1, 0 or -1."""
    return _FLAGGED.fullmatch(line) is not None


def readings(line: str) -> Iterator[str]:
    """Yield the names that a line may mean: all of it, without quotes, without a flag, its first column."""
    yield line
    if len(line) > 2 and line[0] in "\"'" and line[-1] == line[0]:
        yield line[1:-1]
    if flagged := _FLAGGED.fullmatch(line):
        yield flagged[1]
    for separator in _SEPARATORS:
        first, *rest = line.split(separator)
        if rest and first.strip():
            yield first.strip()


def resolve(lines: Iterable[str], find: Callable[[str], Found | None]) -> tuple[list[Found], list[str]]:
    """Resolve the lines of a list by a function that finds a name's image; also returns unresolved lines."""
    found: list[Found] = []
    lost: list[str] = []
    for line in lines:
        match = next((image for name in readings(line) if (image := find(name)) is not None), None)
        if match is None:
            lost.append(line)
        else:
            found.append(match)
    return found, lost
