"""Faults of splits and classes as a whole."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from boxwright.check.report import SplitCount
from boxwright.data.annotations import SOUND, Annotations, Fault, Placed
from boxwright.data.readers.reader import Reader
from boxwright.data.splits import HASHED

WHOLE = "all"
"""The row for a data set without splits."""


def base_splits(splits: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Return the splits that are not the union of others, as trainval is of train and val."""
    sets = {name: set(rows.tolist()) for name, rows in splits.items()}

    def is_union(name: str) -> bool:
        """Tell whether a split is the union of others."""
        parts = [rows for other, rows in sets.items() if other != name and rows < sets[name]]
        return bool(parts) and set().union(*parts) == sets[name]

    return {name: rows for name, rows in splits.items() if not is_union(name)}


def members_of(splits: dict[str, NDArray[np.int64]]) -> dict[int, frozenset[str]]:
    """List the splits of each image."""
    found: dict[int, set[str]] = defaultdict(set)
    for name, rows in splits.items():
        for row in rows.tolist():
            found[row].add(name)
    return {row: frozenset(names) for row, names in found.items()}


def shared_images(table: Annotations, reader: Reader) -> list[Fault]:
    """Find images that are in two of train, val and test; splits that are identical are reported once."""
    faults = []
    for first, second in combinations([name for name in HASHED if name in table.splits], 2):
        if len(table.splits[first]) > 1 and np.array_equal(table.splits[first], table.splits[second]):
            text = f"{first} and {second} are the same {len(table.splits[first])} images: all of them are trained on, "
            text += f"and what is measured on {second} is too good"
            faults.append(Fault("image-in-two-splits", reader.split_file(second), None, text))
            continue
        for row in np.intersect1d(table.splits[first], table.splits[second]).tolist():
            text = f"{table.names[row]} is in {first} and in {second}"
            faults.append(Fault("image-in-two-splits", reader.split_file(second), None, text))
    return faults


def count_splits(table: Annotations, placed: Placed) -> tuple[SplitCount, ...]:
    """Count images and sound boxes of each split, or of the whole if there are none."""
    counts = []
    order = [*(name for name in HASHED if name in table.splits), *(s for s in table.splits if s not in HASHED)]
    for name in order or [WHOLE]:
        rows = table.splits[name] if order else np.arange(len(table.names))
        boxes = (placed.fault == SOUND) & np.isin(table.image, rows)
        of_class = np.bincount(table.labels[boxes], minlength=len(table.classes))
        counts.append(SplitCount(name, len(rows), tuple(of_class.tolist())))
    return tuple(counts)


def class_faults(table: Annotations, reader: Reader, counts: tuple[SplitCount, ...]) -> list[Fault]:
    """Find classes that a split lacks, and names that differ only by case or blanks."""
    base = base_splits(table.splits)
    faults = []
    for count in counts:
        if count.name in base or count.name == WHOLE:
            file = reader.split_file(count.name) if count.name in base else any_file(table)
            lacking = [name for name, boxes in zip(table.classes, count.boxes, strict=True) if not boxes]
            where = "no image" if count.name == WHOLE else f"no image of {count.name}"
            faults += [Fault("absent-class", file, None, f"{where} has a {name!r}") for name in lacking]
    alike: dict[str, list[int]] = defaultdict(list)
    for label, name in enumerate(table.classes):
        alike["".join(name.split()).casefold()].append(label)
    for labels in alike.values():
        for label in labels[1:]:
            text = f"class {table.classes[label]!r} differs from {table.classes[labels[0]]!r} by case or blanks alone"
            faults.append(Fault("similar-class-names", _file_with(table, label), None, text))
    return faults


def empty_images(table: Annotations) -> list[Fault]:
    """Find images without a single annotated box."""
    written = np.bincount(table.image, minlength=len(table.names))
    return [
        Fault("no-boxes", table.paths[row], None, "has no boxes: background only, or not annotated yet?")
        for row in np.flatnonzero((written == 0) & table.there).tolist()
    ]


def any_file(table: Annotations) -> str:
    """Name the annotation file that many images share, or the folder of files that belong to one image each."""
    first = table.files[0] if table.files else ""
    return first if table.shared_files else posixpath.dirname(first) or "."


def _file_with(table: Annotations, label: int) -> str:
    rows = table.image[table.labels == label]
    return table.files[rows[0]] if len(rows) else any_file(table)
