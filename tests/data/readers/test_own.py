"""Readers of people's own: what they may give, the same findings as for any layout, and what is no reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxwright as bw
from boxwright.check import check_dataset
from boxwright.data import CROWD, NORMAL, available_splits
from boxwright.data.layout import open_layout
from boxwright.data.readers.coco import CocoReader
from boxwright.data.readers.reader import ReaderOptions
from boxwright.data.references import referred_files
from boxwright.errors import DataError
from dataset_builders import write_coco, write_picture

CAT, DOG = (5.0, 6.0, 20.0, 30.0), (10.0, 10.0, 40.0, 25.0)  # corners


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures of 64 x 48 in a folder, and one beside it."""
    for seed, name in enumerate(("data/a.jpg", "data/b.jpg", "data/deep/c.jpg", "outside.jpg")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / name, seed, 48, 64)
    (tmp_path / "data" / "labels.bin").write_bytes(b"1")
    return tmp_path / "data"


def giving(*images: Any, **declared: Any) -> Callable[[Path], Iterator[Any]]:
    @bw.reader(**declared)
    def given(root: Path) -> Iterator[Any]:
        yield from images

    return given


def test_images_with_boxes_and_labels(root: Path) -> None:
    dataset = bw.read_dataset(
        root,
        reader=giving(
            bw.LabelledImage(Path("deep/c.jpg"), [CAT, DOG], ["cat", "dog"], ignore=[False, True]),
            ("a.jpg", np.array([DOG], np.float32), np.array(["dog"])),
            (str(root / "b.jpg"), [], []),
        ),
    )
    assert dataset.classes == ("cat", "dog")
    assert [dataset.name(row) for row in range(3)] == ["a.jpg", "b.jpg", "deep/c.jpg"]
    assert dataset.boxes.tolist() == [list(DOG), list(CAT), list(DOG)]
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.code.tolist() == [NORMAL, NORMAL, CROWD]
    assert dataset.sizes.tolist() == [[48, 64]] * 3
    assert dataset.layout.endswith("giving.<locals>.given")


@pytest.mark.parametrize(
    ("declared", "numbers"),
    [
        ({"form": "corners"}, (16, 12, 48, 36)),
        ({"form": "size"}, (16, 12, 32, 24)),
        ({"form": "center"}, (32, 24, 32, 24)),
        ({"form": "center", "fractions": True}, (0.5, 0.5, 0.5, 0.5)),
        ({"fractions": True}, (0.25, 0.25, 0.75, 0.75)),
    ],
)
def test_the_form_of_boxes_is_declared(root: Path, declared: Any, numbers: Any) -> None:
    dataset = bw.read_dataset(root, reader=giving(("a.jpg", [numbers], [7]), **declared))
    assert dataset.boxes.tolist() == [[16, 12, 48, 36]]
    assert dataset.classes == ("7",)


def test_splits_are_given_or_those_of_folders_or_made(root: Path) -> None:
    images = [
        ("a.jpg", [CAT], ["cat"], "Train"),
        ("b.jpg", [CAT], ["cat"], "validation"),
        ("deep/c.jpg", [], [], "odd"),
    ]
    assert available_splits(root, reader=giving(*images)) == ("train", "val", "odd")
    assert bw.read_dataset(root, "val", reader=giving(*images)).name(0) == "b.jpg"
    with pytest.raises(DataError, match="no split 'test'"):
        bw.read_dataset(root, "test", reader=giving(*images))
    assert available_splits(root, reader=giving(("a.jpg", [CAT], ["cat"]))) == ("train", "val", "test")
    (root / "deep").rename(root / "val")
    (root / "train").mkdir()
    (root / "a.jpg").rename(root / "train" / "a.jpg")
    found = giving(("train/a.jpg", [CAT], ["cat"]), ("val/c.jpg", [CAT], ["cat"]))
    assert available_splits(root, reader=found) == ("train", "val")


def test_declared_classes_keep_their_order_and_others_are_told(root: Path) -> None:
    read = giving(("a.jpg", [CAT, DOG], ["cat", "dgo"]), classes=["dog", "cat"])
    assert bw.read_dataset(root, reader=read).classes == ("dog", "cat")
    assert [(f.file, f.box) for f in check_dataset(root, reader=read).findings if f.kind == "label-out-of-range"] == [
        ("a.jpg", 1)
    ]


def test_a_check_finds_what_it_finds_in_any_layout(root: Path) -> None:
    boxes = [
        CAT,
        (20, 6, 5, 30),
        (5, 5, 5, 9),
        (float("nan"), 0, 1, 1),
        (70, 5, 80, 9),
        (1, 2, 3),
        None,
        ("x", 0, 1, 1),
    ]
    read = giving(
        ("a.jpg", boxes, ["cat"] * len(boxes)),
        ("gone.jpg", [CAT], ["cat"]),
        ("b.jpg", [CAT], [None]),
        ("a\0.jpg", [CAT], ["cat"]),
        ("a.jpg", [DOG], ["dog"]),
    )
    found = {(f.kind, f.file, f.box) for f in check_dataset(root, reader=read).findings if f.severity == "error"}
    assert found >= {
        ("inverted-box", "a.jpg", 1),
        ("zero-area", "a.jpg", 2),
        ("bad-number", "a.jpg", 3),
        ("outside-box", "a.jpg", 4),
        ("bad-number", "a.jpg", 5),
        ("bad-number", "a.jpg", 6),
        ("bad-number", "a.jpg", 7),
        ("missing-image", "gone.jpg", None),
        ("label-out-of-range", "b.jpg", 0),
    }
    warned = {(f.kind, f.file) for f in check_dataset(root, reader=read).findings if f.severity == "warning"}
    assert warned >= {("orphan-image", "deep/c.jpg"), ("listed-twice", "a.jpg")}
    assert ("unused-file", "labels.bin") not in warned
    dataset = bw.read_dataset(root, reader=read)
    assert dataset.boxes.tolist() == [list(CAT), list(DOG)]
    assert len(dataset) == 1


@pytest.mark.parametrize("path", ["../outside.jpg", "deep/../../outside.jpg", "{outside}", "link.jpg"])
def test_no_image_outside_the_folder_is_read(root: Path, path: str) -> None:
    os.symlink(root.parent / "outside.jpg", root / "link.jpg")
    path = path.format(outside=root.parent / "outside.jpg")
    dataset = bw.read_dataset(root, reader=giving((path, [CAT], ["cat"]), ("a.jpg", [CAT], ["cat"])))
    assert [dataset.name(row) for row in range(len(dataset))] == ["a.jpg"]
    (fault,) = dataset.left_out.faults
    assert fault.kind == "path-outside"
    assert fault.message.endswith("leads out of the data set's folder; its boxes (1) are left out")


def test_links_are_followed_where_that_is_allowed(root: Path) -> None:
    os.symlink(root.parent / "outside.jpg", root / "link.jpg")
    dataset = bw.read_dataset(root, reader=giving(("link.jpg", [CAT], ["cat"])), allow_links=True)
    assert dataset.left_out.links == (("link.jpg", str(root.parent / "outside.jpg")),)


def test_no_file_of_the_folder_is_replaced(root: Path) -> None:
    files = set(referred_files(root, reader=giving(("a.jpg", [CAT], ["cat"]))))
    assert {root / "labels.bin", root / "a.jpg", root / "b.jpg"} <= files


class Odd:
    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        raise KeyError("odd")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, r"image 1: Expected \(path, boxes, labels\) or a LabelledImage but got None"),
        ("a.jpg", r"image 1: Expected \(path, boxes, labels\) or a LabelledImage but got 'a.jpg'"),
        (("a.jpg", []), r"Expected \(path, boxes, labels\)"),
        ((3, [], []), "Expected the path of an image but got 3"),
        (("", [], []), "Expected the path of an image but got ''"),
        (("a.jpg", [CAT], []), "Expected as many labels as boxes of 'a.jpg' but got"),
        (("a.jpg", [CAT], "c"), "Expected as many labels as boxes"),
        (("a.jpg", None, []), "Expected as many labels as boxes"),
        (("a.jpg", [], [], 3), "Expected the name of a split, or None, but got 3"),
        (("a.jpg", [CAT], ["cat"], None, [True, False]), "Expected ignore for each of 1 boxes, or none, but got 2"),
        (("a.jpg", Odd(), ["cat"]), "KeyError: 'odd'"),
    ],
)
def test_what_is_no_image(root: Path, item: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        bw.read_dataset(root, reader=giving(item))
    assert str(caught.value).startswith(str(root))


def test_a_reader_that_fails_is_named_with_its_line(root: Path) -> None:
    def failing(root: Path) -> Iterator[Any]:
        yield "a.jpg", [CAT], ["cat"]
        int("x")

    with pytest.raises(DataError, match=r"failing: ValueError: invalid literal .* \(test_own.py, line \d+\)$"):
        bw.read_dataset(root, reader=failing)

    def raising(root: Path) -> Iterator[Any]:
        raise DataError("no table in labels.db")

    with pytest.raises(DataError, match=r"raising: no table in labels\.db$"):
        check_dataset(root, reader=raising)
    with pytest.raises(DataError, match=r"reader .*: Expected an iterable of images but got 5"):
        bw.read_dataset(root, reader=lambda root: 5)  # type: ignore[arg-type,return-value]
    with pytest.raises(DataError, match="no images"):
        bw.read_dataset(root, reader=giving())


def test_memory_that_runs_out_is_no_fault_of_the_reader(root: Path) -> None:
    def large(root: Path) -> Iterator[Any]:
        raise MemoryError

    with pytest.raises(MemoryError):
        bw.read_dataset(root, reader=large)


def test_another_part_is_no_reader(root: Path) -> None:
    with pytest.raises(ValueError, match=r"declared by @bw.reader\(\) but got a part declared as box_loss"):
        bw.read_dataset(root, reader=bw.losses.giou_loss)
    with pytest.raises(ValueError, match="form of a reader's boxes to be one of 'corners', 'size', 'center'"):
        bw.reader(form="xyxy")  # type: ignore[arg-type]


def test_a_layout_is_asked_for_by_its_reader(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "coco", {"train": {"a.jpg": [("cat", *CAT)]}}, ["cat"])
    assert isinstance(open_layout(root, ReaderOptions(reader=partial(CocoReader))), CocoReader)
    options = bw.get_recipe("lite320", reader="yolo").reader_options
    with pytest.raises(DataError, match="no YOLO data set found: images/ is there, but none"):
        bw.read_dataset(root, **options)
    assert bw.get_recipe("lite320", reader=CocoReader).reader == "coco"
