"""Of what any tool writes every picture is read or named, and every box is in the table."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.data import read_dataset
from boxwright.data.layout import open_layout
from boxwright.data.leftovers import leftovers
from dataset_builders import Box, write_picture, write_text
from layout_builders import VARIANTS, WRITERS

CLASSES = ("ant", "zebra")
BOX: Box = ("ant", 10, 12, 40, 50)
COUNTS = st.lists(st.integers(0, 3), min_size=1, max_size=3)
ADDED = st.lists(st.sampled_from(["x.png", "train/x.jpg", "deep/er/y.jpg", "images/z.jpg"]), unique=True)
JUNK = st.lists(
    st.sampled_from(["notes.txt", "train/old.csv", "labels.yaml", "conf.json", "deep/list.txt"]), unique=True
)


@settings(max_examples=150, deadline=None)
@given(
    tool=st.sampled_from(sorted({**WRITERS, **VARIANTS})),
    splits=st.dictionaries(st.sampled_from(["train", "valid", "test"]), COUNTS, min_size=1),
    split=st.booleans(),
    added=ADDED,
    junk=JUNK,
    removed=st.integers(0, 20),
)
def test_pictures_and_boxes(
    tool: str, splits: dict[str, list[int]], split: bool, added: list[str], junk: list[str], removed: int
) -> None:
    images = {
        name: {f"{name}{place}.jpg": [BOX] * count for place, count in enumerate(counts)}
        for name, counts in splits.items()
    }
    images["train"] = {"first.jpg": [BOX], **images.get("train", {})}
    if not split:
        images = {"": {name: boxes for group in images.values() for name, boxes in group.items()}}
    with tempfile.TemporaryDirectory() as folder:
        root = {**WRITERS, **VARIANTS}[tool](Path(folder), images, CLASSES)
        for seed, name in enumerate(added):
            write_picture(root / name, 100 + seed)
        for name in junk:
            write_text(root / name, "a: b\n")
        pictures = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
        if removed < len(pictures) and not pictures[removed].endswith("first.jpg"):
            (root / pictures[removed]).unlink()
        reader = open_layout(root)
        table = reader.read(())
        named = {fault.file for fault in (*table.faults, *table.notes, *leftovers(reader, table))}
        known = {*table.paths, *table.accounted, *named}
        for path in root.rglob("*"):
            if path.suffix in (".jpg", ".png"):
                assert path.relative_to(root).as_posix() in known
        for name in junk:
            assert name in {*named, *reader.sources, *table.files}
        there = {path.name for path in root.rglob("*.jpg")}
        boxes = [(name, len(boxes)) for group in images.values() for name, boxes in group.items()]
        at_least = sum(count for name, count in boxes if name in there or not tool.startswith("yolo"))
        assert at_least <= len(table.labels) <= sum(count for _, count in boxes)  # YOLO's label files are named instead


@pytest.mark.parametrize("tool", sorted({**WRITERS, **VARIANTS}))
def test_pictures_whose_names_are_spelled_otherwise_in_the_annotations(tmp_path: Path, tool: str) -> None:
    """In capitals, as cameras write the extension, and with accents apart, as macOS does."""
    root = {**WRITERS, **VARIANTS}[tool](tmp_path, {"train": {"caf\u00e9.jpg": [BOX], "b.jpg": [BOX] * 2}}, CLASSES)
    for path in list(root.rglob("*.jpg")):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.stem) + ".JPG"))
    data = read_dataset(tmp_path, "train")
    assert data.left_out.faults == ()
    boxes = {data.path(row).name: len(data.target(row).boxes) for row in range(len(data))}
    assert boxes == {"b.JPG": 2, "cafe\u0301.JPG": 1}
