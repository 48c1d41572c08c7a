"""The split lists of a VOC data set: ImageSets/Main/<split>.txt, or where else people have put them."""

from __future__ import annotations

import posixpath

from boxwright.data.files import Tree, stem
from boxwright.data.lists import is_flagged
from boxwright.data.splits import canonical, is_split_name
from boxwright.errors import DataError

_OTHER_TASKS = ("layout", "segmentation", "action")  # of the challenge, beside ImageSets/Main


def find_lists(tree: Tree) -> tuple[dict[str, dict[str, list[str]]], set[str]]:
    """Find the lists of each split, as lines by file, and the files that need no word although they are no split's."""
    groups: dict[str, list[str]] = {"main": [], "imagesets": [], "": []}
    known: set[str] = set()
    for path in tree.below():
        if path.lower().endswith(".txt"):
            parents = [part.lower() for part in path.split("/")[:-1]]
            place = parents[-1] if parents else ""
            if place == "imagesets" or (place == "main" and parents[-2:-1] == ["imagesets"]):
                groups[place].append(path)
            elif not place and is_split_name(stem(path)):
                groups[""].append(path)
            elif place in _OTHER_TASKS and parents[-2:-1] == ["imagesets"]:
                known.add(path)
    for files in groups.values():
        lines = {path: lines for path in files if (lines := _lines(tree, path)) is not None}
        if lines:
            splits, of_classes = _by_split(lines)
            return splits, known | of_classes
    return {}, known


def _lines(tree: Tree, path: str) -> list[str] | None:
    try:
        return tree.read_lines(path)
    except DataError:
        return None


def _by_split(lists: dict[str, list[str]]) -> tuple[dict[str, dict[str, list[str]]], set[str]]:
    """Lists by split; those of a single class (dog_train.txt: "000012 -1") count where there are no others."""
    plain = {canonical(stem(path)) for path, lines in lists.items() if not _is_of_class(path, lines)}
    splits: dict[str, dict[str, list[str]]] = {}
    of_classes: set[str] = set()
    for path, lines in lists.items():
        if not _is_of_class(path, lines):
            splits.setdefault(canonical(stem(path)), {})[path] = lines
        elif (split := _split_of_class_list(path)) in plain:
            of_classes.add(path)
        else:
            splits.setdefault(split, {})[path] = lines
    return splits, of_classes


def _is_of_class(path: str, lines: list[str]) -> bool:
    split = _split_of_class_list(path)
    return stem(path) != split and bool(lines) and all(map(is_flagged, lines))


def _split_of_class_list(path: str) -> str:
    """Return the split at the end of the name of a one-class list; the whole name if there is none."""
    name = stem(path)
    last = posixpath.basename(name).rpartition("_")[2]
    return canonical(last) if last != name and is_split_name(last) else name
