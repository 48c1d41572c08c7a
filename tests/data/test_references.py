"""Every file that makes up a data set, and none that merely lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boxwright.data.references import referred_files
from boxwright.errors import DataError
from dataset_builders import write_coco, write_picture, write_text, write_voc, write_yolo

BOXES = [("cat", 5.0, 5.0, 35.0, 30.0)]


def referred(root: Path) -> set[str]:
    return {path.relative_to(root.resolve()).as_posix() for path in referred_files(root) if path.is_file()}


def test_coco(tmp_path: Path) -> None:
    write_coco(tmp_path, {split: {f"{split}.jpg": BOXES} for split in ("train", "test")}, ["cat"])
    write_picture(tmp_path / "images" / "train" / "orphan.jpg", 9)
    write_text(tmp_path / "annotations" / "instances_val.json", '{"images": [], "annotations": [], "categories": [')
    beside = ("metrics.json", "notes.txt", "annotations/notes.json")
    for name in beside:
        write_text(tmp_path / name, json.dumps({"a": 1}))
    every = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert referred(tmp_path) == every - set(beside)


def test_voc(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": BOXES, "b": BOXES, "c": BOXES}, {"train": ["a"], "val": ["b"]})
    write_text(tmp_path / "Annotations" / "broken.xml", "<annotation>")
    every = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    write_text(tmp_path / "README.txt", "mine")
    assert referred(tmp_path) == every


def test_yolo(tmp_path: Path) -> None:
    config = "train: train.txt\nval: val/images\nnames: [cat]\n"
    write_yolo(tmp_path, {"train": {"a.jpg": BOXES}, "val": {"b.jpg": BOXES}}, ["cat"], config=config)
    write_text(tmp_path / "train.txt", "train/images/a.jpg\n")
    every = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    write_text(tmp_path / "README.txt", "mine")
    assert referred(tmp_path) == every


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    files = referred_files(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such folder"):
        next(files)
