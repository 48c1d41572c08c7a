"""Where a YOLO data set's images lie, which split each is in, and how the classes are called."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from boxwright._util.reading import as_utf8, readable
from boxwright._util.yaml_files import YamlError, parse_yaml
from boxwright.data.annotations import Fault
from boxwright.data.files import Tree, is_image, join, parts_of
from boxwright.data.lists import resolve
from boxwright.data.readers.yolo_labels import LabelFiles
from boxwright.data.splits import canonical, folder_splits, is_split_name
from boxwright.errors import DataError

_CONFIGS = ("data.yaml", "data.yml")
MOST_CLASSES = 10_000  # a larger number is a slip
_SPLIT_KEYS = ("train", "val", "valid", "validation", "test")
CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels")
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass
class YoloLayout:
    """Class number to name, and the images of each split ("" for the only one, which is none)."""

    names: dict[int, str] | None = None
    images: dict[str, list[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    """File that says which images a split has, by split."""
    config: str | None = None
    """The YAML file, where there is one."""
    count: int = 0
    """Number of classes by the YAML file; 0 if it gives none."""
    lists: set[str] = field(default_factory=set)
    """Other files that were used: lists of images, obj.data, names of classes."""


def from_yaml(tree: Tree, config: str) -> YoloLayout:
    """Read data.yaml. Raises DataError where it can't be understood."""
    content = _parse(tree, config)
    base = _text(content.get("path")) or ""
    layout = YoloLayout(_names(tree, config, content), config=config, count=_count(content))
    for key in _SPLIT_KEYS:
        value = content.get(key)
        entries = [text for entry in (value if isinstance(value, list) else [value]) if (text := _text(entry))]
        found = [path for entry in entries for path in _listed(tree, base, entry, layout)]
        if found:
            layout.images.setdefault(canonical(key), []).extend(found)
            layout.sources[canonical(key)] = config
        elif entries:
            layout.faults.append(_explain(tree, posixpath.join(base, entries[0]), config, key))
    return layout


def find_config(tree: Tree) -> str | None:
    """Find data.yaml, or the one YAML file that names classes and splits. Raises DataError if several differ."""
    usual = next((name for name in _CONFIGS if tree.state(name) == "there"), None)
    if usual:
        return usual
    found = _configs(tree, ".")
    layouts = [from_yaml(tree, name) for name in found]
    for name, layout in zip(found, layouts, strict=True):
        if (layout.names, layout.images) != (layouts[0].names, layouts[0].images):
            raise DataError(f"{tree.root}: {found[0]} and {name} differ: give one of them in place of the folder")
    return found[0] if found else None


def _configs(tree: Tree, folder: str) -> list[str]:
    paths = [join(folder, name) for suffix in (".yaml", ".yml") for name in tree.files(folder, suffix)]
    return [path for path in paths if _is_config(tree, path)]


def _is_config(tree: Tree, name: str) -> bool:
    try:
        content = parse_yaml(as_utf8(tree.read(name)))
    except (DataError, YamlError):
        return False
    return isinstance(content, dict) and "names" in content and any(key in content for key in _SPLIT_KEYS)


def from_folders(tree: Tree) -> YoloLayout:
    """Look for images/ + labels/, with the split as a folder above or below, or in lists beside them."""
    images = tree.folder(".", "images")
    paths = tree.images_below(images) if images else []
    if not paths:
        folders = (name for name, kind in sorted(tree.entries(".").items()) if kind != "file")
        inner = (tree.folder(name, "images") for name in folders if is_split_name(name) or not _configs(tree, name))
        paths = [path for folder in inner if folder for path in tree.images_below(folder)]
    splits = folder_splits(paths)
    if splits or not paths:
        return YoloLayout(images=splits)
    return _from_lists(tree) or YoloLayout(images={"": paths})


def class_list(tree: Tree, images: Iterable[str]) -> tuple[dict[int, str] | None, list[str]]:
    """Names of the file that labeling tools write beside the labels, and all files that say the same."""
    labels = LabelFiles(tree)
    folders = {posixpath.dirname(path) for path in images}
    near = sorted({near for folder in folders for near in labels.folders(folder)})
    above = sorted(set(map(posixpath.dirname, near)))
    places = dict.fromkeys([".", "labels", *near, *above])
    found = [path for folder in places for path in _class_files(tree, folder)]
    there = [path for path in found if tree.state(path) == "there" and not tree.is_folder(path)]
    if not there:
        return None, []
    names = numbered_lines(tree, there[0])
    return names, [path for path in there if numbered_lines(tree, path) == names]


def _class_files(tree: Tree, folder: str) -> list[str]:
    names = {name.lower(): name for name in sorted(tree.entries(folder), reverse=True)}
    return [join(folder, names[name]) for name in CLASS_FILES if name in names]


def numbered_lines(tree: Tree, path: str) -> dict[int, str]:
    """Read class names by line number; empty lines between them are named by number."""
    lines = [readable(line) for line in tree.text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return {number: name or f"class_{number}" for number, name in enumerate(lines)}


def _parse(tree: Tree, config: str) -> dict[str, Any]:
    try:
        content = parse_yaml(as_utf8(tree.read(config)))
    except YamlError as error:
        raise DataError(f"{tree.root / config}: YAML that can't be parsed: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{tree.root / config}: Expected keys names, train, val but got {type(content).__name__}")
    return content


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value not in _NULLS else None


def _count(content: dict[str, Any]) -> int:
    """Read the number of classes from data.yaml; 0 if it doesn't say."""
    count = _text(content.get("nc")) or ""
    number = int(count) if count.isascii() and count.isdecimal() and len(count) < 10 else 0
    return number if number < MOST_CLASSES else 0


def _names(tree: Tree, config: str, content: dict[str, Any]) -> dict[int, str] | None:
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    elif isinstance(names, dict):
        for key in names:
            if not (key.isascii() and key.isdecimal() and len(key) < 10):
                raise DataError(
                    f"{tree.root / config}: Expected the numbers of classes as keys of names but got {key!r}"
                )
        names = {int(key): name for key, name in names.items()}
    elif _text(names):
        raise DataError(f"{tree.root / config}: Expected a list of names as [dog, cat] but got {names!r:.80}")
    else:
        return None
    for number, name in names.items():
        if isinstance(name, list | dict):
            raise DataError(f"{tree.root / config}: Expected text as the name of class {number} but got {name!r:.80}")
    return {number: readable(name or "") or f"class_{number}" for number, name in names.items()}


def _listed(tree: Tree, base: str, entry: str, layout: YoloLayout) -> list[str]:
    """Images of an entry of data.yaml, a folder or a list of files, looked for below data.yaml's own folder."""
    for path in _below(tree, base, entry):
        if tree.is_folder(path):
            inner = tree.folder(path, "images")
            images = tree.images_below(inner if inner and not tree.images(path) else path)
            if images:
                return images
        elif path.lower().endswith(".txt"):
            return of_list(tree, path, layout, base)
    outside = posixpath.join(base, entry)
    folder = posixpath.dirname(outside) if outside.lower().endswith(".txt") else outside
    if any(tree.tidy(place) is None and tree.admit(place) for place in (base, folder) if place):
        return _listed(tree, base, entry, layout)
    return []


def _explain(tree: Tree, entry: str, config: str, key: str) -> Fault:
    """Describe the fault of an entry of data.yaml that leads to no image."""
    if tree.tidy(entry) is None and (tree.root / entry).exists():
        text = f"{key}: {entry} lies outside the data set's folder; --allow-links reads it"
        return Fault("path-outside", config, None, text)
    return Fault("missing-split", config, None, f"{key}: {entry} leads to no image in the data set's folder")


def of_list(tree: Tree, path: str, layout: YoloLayout, base: str = "") -> list[str]:
    """Images of a list; one that is nowhere stays as written, to be missed."""
    folder = posixpath.dirname(path)

    def find(name: str) -> str | None:
        if not is_image(posixpath.basename(name.replace("\\", "/"))):
            return None
        places = (posixpath.join(base, name), name, join(folder, name))
        there = (tidied for place in places if tree.state(place) == "there" and (tidied := tree.tidy(place)))
        return next(there, None) or tree.nearest(name)

    found, lost = resolve(tree.read_lines(path), find)
    layout.lists.add(path)
    for line in lost:
        if tree.tidy(line) is None:
            layout.faults.append(Fault("path-outside", path, None, f"{line} leads out of the data set's folder"))
        else:
            layout.faults.append(Fault("missing-image", path, None, f"{line} is listed, but there is no such image"))
    return found


def _from_lists(tree: Tree) -> YoloLayout | None:
    """Splits of lists that lie beside images/ and labels/."""
    layout = YoloLayout()
    for name in tree.files(".", ".txt"):
        split = name[: -len(".txt")]
        if not is_split_name(split) or tree.is_folder(name):
            continue
        listed = YoloLayout()
        if images := of_list(tree, name, listed):
            layout.images[canonical(split)] = images
            layout.sources[canonical(split)] = name
            layout.faults += listed.faults
            layout.lists.add(name)
    return layout if layout.images else None


def _below(tree: Tree, base: str, entry: str) -> Iterator[str]:
    """Paths that are there and that ``base``/``entry`` may mean: as written, alone, then without leading folders."""
    for path in (posixpath.join(base, entry), entry):
        if tree.state(path) == "there":
            yield tree.tidy(path) or path
    parts = parts_of(posixpath.join(base, entry))
    for start in range(len(parts)):
        if tree.is_there(parts[start:]):
            yield "/".join(parts[start:])
