"""YOLO data without folders of labels: darknet's obj.data and its lists, and label files beside the images.

github.com/AlexeyAB/darknet, "How to train (to detect your custom objects)"; docs.cvat.ai, "YOLO" (1.1): obj.data names
train.txt, valid.txt and obj.names, and their paths begin with data/, wherever they lie. labelImg and Roboflow's
"YOLO Darknet" write label files beside the images, and classes.txt or _darknet.labels.
"""

from __future__ import annotations

import math
import posixpath

from boxwright.data.annotations import Fault
from boxwright.data.files import Tree, join
from boxwright.data.readers.yolo_labels import LabelFiles, parse_line
from boxwright.data.readers.yolo_layout import YoloLayout, numbered_lines, of_list
from boxwright.data.splits import canonical, folder_splits, is_split_name
from boxwright.errors import DataError

_FOLDERS = ("data", "cfg")
_PROBED = 20  # label files that are looked into for one that holds boxes


def from_darknet(tree: Tree) -> YoloLayout | None:
    """Read obj.data, or another file of its kind; None where there is none."""
    folders = [".", *(folder for name in _FOLDERS if (folder := tree.folder(".", name)))]
    for file in (join(folder, name) for folder in folders for name in tree.files(folder, ".data")):
        entries = _entries(tree, file)
        lists = {canonical(key): path for key, path in entries.items() if is_split_name(key) and path}
        if not lists:
            continue
        layout = YoloLayout(lists={file})
        for split, path in lists.items():
            found = _find(tree, path)
            if found and (images := of_list(tree, found, layout, posixpath.dirname(file))):
                layout.images[split], layout.sources[split] = images, found
            elif split == "train" or found:
                text = f"{split}: {path} leads to no image in the data set's folder"
                layout.faults.append(Fault("missing-split", file, None, text))
        if names := _find(tree, entries.get("names", "")):
            layout.names = numbered_lines(tree, names)
            layout.lists.add(names)
        return layout
    return None


def from_beside(tree: Tree) -> YoloLayout | None:
    """Take all images, where a text file beside one of them holds boxes; folders called so are the splits."""
    paths = tree.images_below()
    labels = LabelFiles(tree)
    found = ((posixpath.dirname(path), file) for path in paths for file in labels.of(path)[:1])
    beside = [file for folder, file in found if posixpath.dirname(file) == folder]
    if not any(has_boxes(tree, file) for file in beside[:_PROBED]):
        return None
    layout = YoloLayout(images=folder_splits(paths))
    inside = {path for group in layout.images.values() for path in group}
    if rest := [path for path in paths if path not in inside]:
        text = "is in no split, while other images are"
        layout.faults += [Fault("no-split", path, None, text) for path in rest if inside]
        layout.images[""] = rest
    return layout


def _entries(tree: Tree, file: str) -> dict[str, str]:
    """Keys and values of lines like ``train = data/train.txt``."""
    try:
        lines = [line.partition("=") for line in tree.read_lines(file) if not line.startswith("#")]
    except DataError:
        return {}
    return {key.strip().lower(): value.strip() for key, sign, value in lines if sign}


def _find(tree: Tree, path: str) -> str | None:
    """Find the file below the data set's folder that a path in obj.data means."""
    tidied = tree.tidy(path) if path else None
    if tidied and tree.state(tidied) == "there" and not tree.is_folder(tidied):
        return tidied
    return tree.nearest(path)


def has_boxes(tree: Tree, file: str) -> bool:
    """Tell whether the first line of a file is a box."""
    try:
        lines = tree.read_lines(file)
    except DataError:
        return False
    if not lines:
        return False
    line = parse_line(lines[0])
    return line.label >= 0 and all(map(math.isfinite, (*line.center, *line.size)))
