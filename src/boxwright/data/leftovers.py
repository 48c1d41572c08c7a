"""Files in a data set's folder that were not read: every unread picture, list, class file and annotation file."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable

from boxwright._util.reading import NO_FILE
from boxwright.data.annotations import Annotations, Fault
from boxwright.data.files import Tree, is_image
from boxwright.data.readers.reader import Reader

_TELLING = frozenset(
    {".txt", ".xml", ".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".names", ".labels", ".data", ".parquet"}
)
"""Suffixes of files that may hold boxes, classes or lists."""
_PROSE = ("readme", "license", "licence", "copying", "notice", "changelog", "requirements", "citation")


def leftovers(reader: Reader, table: Annotations) -> list[Fault]:
    """Name the files that ``table``, which covers all splits, and its faults do not account for."""
    tree = reader.tree
    known = _known(tree, reader, table)
    faults = [_leftover(reader, path) for path in tree.below() if path not in known and _is_telling(tree, path)]
    own = "was made by boxwright, so nothing in it is read"
    faults += [Fault("boxwright-output", folder, None, own) for folder in tree.marked]
    links = tree.links.items() if tree.allow_links else ()
    return faults + [Fault("followed-link", link, None, f"leads to {target}") for link, target in links]


def _leftover(reader: Reader, path: str) -> Fault:
    state = reader.tree.state(path)
    if state == "outside":
        text = f"is a link to {reader.tree.links[path]}, outside the data set's folder; --allow-links follows it"
        return Fault("path-outside", path, None, text)
    if state == "special":
        what = "image" if is_image(posixpath.basename(path)) else "annotation"
        return Fault(f"unreadable-{what}", path, None, NO_FILE)
    if reader.tree.is_own(path):
        return Fault("boxwright-output", path, None, "was written by boxwright, so it isn't read")
    return reader.leftover(path)


def _known(tree: Tree, reader: Reader, table: Annotations) -> set[str]:
    faults = (*table.faults, *table.notes)
    known = {*table.paths, *table.files, *table.accounted, *reader.sources, *(fault.file for fault in faults)}
    return known | set(_behind_links(tree, known))


def _behind_links(tree: Tree, paths: Iterable[str]) -> Iterable[str]:
    """Resolve files that are known by the name of a link below the folder."""
    real_folders: dict[str, str] = {}
    for path in paths:
        folder, name = posixpath.split(path)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(tree.root / folder)
        place = f"{real_folders[folder]}/{name}"
        if tree.entries(folder or ".").get(name) == "link":
            place = os.path.realpath(place)
        if place.startswith(f"{tree.root.as_posix()}/"):
            yield place[len(tree.root.as_posix()) + 1 :]


def may_annotate(path: str) -> bool:
    """Tell by its name whether a file may hold boxes, classes or lists."""
    name = posixpath.basename(path).lower()
    return posixpath.splitext(name)[1] in _TELLING and not name.startswith(_PROSE)


def _is_telling(tree: Tree, path: str) -> bool:
    """Tell whether a file may belong to a data set; a folder here is behind a link and may hold anything."""
    if is_image(posixpath.basename(path)) or may_annotate(path):
        return True
    return tree.state(path) == "outside" and (tree.root / path).is_dir()
