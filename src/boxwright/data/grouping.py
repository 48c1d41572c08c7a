"""Images that belong together: a split or a fold takes a group as a whole, so that nothing leaks between them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from boxwright._util.reading import read_regular
from boxwright.data.near import near_pairs, thumbnails_of
from boxwright.errors import DataError

MOST_COMPARED = 20_000
"""Images above which nearly identical ones are looked for only where that is asked for."""
RULES = "folder, near or a regular expression"


def grouped(root: Path, paths: Sequence[str], rule: str | None = None) -> list[list[int]]:
    """Group rows of images that belong together; each group and the list of groups are ordered by first row.

    Byte-identical images always belong together.

    Args:
        root: Folder of the data set.
        paths: Image files, relative to ``root``.
        rule: "folder": images in one folder; "near": nearly identical images, such as frames of a video; otherwise a
            regular expression searched in the path: images with the same first group (the whole match, if it has none)
            belong together, and an image without a match is alone. None: "near" up to 20,000 images.

    Raises:
        DataError: If the rule is invalid, or puts all images into one group.
    """
    sets: list[Iterable[list[int]]] = [identical_files(root, paths)]
    if rule == "near" or (rule is None and len(paths) <= MOST_COMPARED):
        partners = near_pairs(thumbnails_of(root, paths).astype(np.float32))
        sets.append([row, *others] for row, others in partners.items())
    elif rule is not None:
        sets.append(_groups(_named(paths, rule)).values())
    groups = _joined(len(paths), (rows for each in sets for rows in each))
    if rule is not None and len(groups) < 2 <= len(paths):
        raise DataError(f"--group-by {rule}: all {len(paths)} images of {root} go together, so nothing can be split")
    return groups


def _named(paths: Sequence[str], rule: str) -> list[tuple[Hashable, int]]:
    """Each row with the name of its group."""
    if rule == "folder":
        return [(path.rpartition("/")[0], row) for row, path in enumerate(paths)]
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise DataError(f"Expected --group-by to be {RULES} but got {rule!r} ({error})") from None
    found = [pattern.search(path) for path in paths]
    if not any(found):
        raise DataError(f"--group-by {rule}: found in no path of an image, such as {paths[0] if paths else '-'}")
    return [((row,) if match is None else match[min(pattern.groups, 1)], row) for row, match in enumerate(found)]


def identical_files(root: Path, paths: Sequence[str]) -> list[list[int]]:
    """Rows of byte-identical files, in groups; a file that can't be read is alone. Only equal sizes are compared."""
    by_size = _groups((_size(root / path, row), row) for row, path in enumerate(paths))
    groups: list[list[int]] = []
    for rows in by_size.values():
        if len(rows) == 1:
            groups.append(rows)
        else:
            groups.extend(_groups((_digest(root / paths[row], row), row) for row in rows).values())
    return groups


def _joined(count: int, sets: Iterable[list[int]]) -> list[list[int]]:
    """The connected components of ``count`` rows, of which those of a set are connected."""
    parent = list(range(count))

    def top(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for rows in sets:
        for row in rows[1:]:
            first, second = sorted((top(rows[0]), top(row)))
            parent[second] = first
    return list(_groups((top(row), row) for row in range(count)).values())


def _groups(pairs: Iterable[tuple[Hashable, int]]) -> Mapping[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for key, row in pairs:
        groups[key].append(row)
    return groups


def _size(path: Path, row: int) -> Hashable:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return ("alone", row)


def _digest(path: Path, row: int) -> Hashable:
    try:
        return blake2b(read_regular(path), digest_size=16).digest()
    except (OSError, ValueError):
        return ("alone", row)
