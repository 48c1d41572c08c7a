"""What all readers of lists of pictures share, tried on each of them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.data.layout import open_layout
from boxwright.data.leftovers import leftovers
from boxwright.data.readers.listing import split_in_name
from boxwright.errors import DataError
from dataset_builders import Box, write_coco, write_picture, write_text, write_voc, write_yolo
from layout_builders import WRITERS, labelme_content

CLASSES = ("ant", "zebra")
TRAIN: dict[str, list[Box]] = {
    "a.jpg": [("ant", 10, 12, 40, 50), ("zebra", 2, 3, 20, 30)],
    "b.jpg": [("zebra", 5, 6, 70, 55)],
}
SPLITS = {"train": TRAIN, "valid": {"v 1.jpg": [("ant", 1, 2, 31, 42)]}}
EVERY = pytest.mark.parametrize("layout", WRITERS)


@EVERY
@pytest.mark.parametrize("classes", [(), CLASSES])
def test_what_a_tool_writes_is_read(tmp_path: Path, layout: str, classes: tuple[str, ...]) -> None:
    WRITERS[layout](tmp_path, SPLITS, classes)
    assert available_splits(tmp_path) == ("train", "val")
    data = read_dataset(tmp_path, "train")
    assert (data.layout, data.classes) == (layout, CLASSES)
    assert [Path(data.name(i)).name for i in range(len(data))] == ["a.jpg", "b.jpg"]
    np.testing.assert_allclose(data.boxes, [[10, 12, 40, 50], [2, 3, 20, 30], [5, 6, 70, 55]], atol=1e-4)
    assert data.labels.tolist() == [0, 1, 1]
    assert data.left_out.faults == ()
    report = check_dataset(tmp_path)
    assert [(split.name, split.images) for split in report.splits] == [("train", 2), ("val", 1)]
    assert {finding.kind for finding in report.findings} == {"absent-class"}  # val has no zebra


@EVERY
def test_data_without_splits_has_none(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path, {"": TRAIN}, CLASSES)
    assert available_splits(tmp_path) == ("train", "val", "test")
    assert open_layout(tmp_path).splits == ()
    assert len(read_dataset(tmp_path)) == 2
    assert check_dataset(tmp_path).findings == ()


@EVERY
def test_pictures_that_no_file_lists_are_named(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path, SPLITS, CLASSES)
    write_picture(tmp_path / "train" / "deep" / "c.png", 77)
    report = check_dataset(tmp_path)
    assert [f.file for f in report.findings if f.kind == "orphan-image"] == ["train/deep/c.png"]
    assert report.images == 3


@EVERY
def test_a_listed_picture_that_is_missing_is_an_error(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path, SPLITS, CLASSES)
    (gone,) = tmp_path.rglob("b.jpg")
    gone.unlink()
    report = check_dataset(tmp_path)
    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert finding.kind == "missing-image"
    assert "b.jpg" in finding.message
    assert len(read_dataset(tmp_path, "train")) == 1


@EVERY
@pytest.mark.parametrize("host", ["voc", "coco", "yolo"])
def test_it_is_not_taken_for_another_layout_that_is_there(tmp_path: Path, layout: str, host: str) -> None:
    """The layouts of old stay what they are, whatever else lies beside; it is named."""
    if host == "voc":
        write_voc(tmp_path, {"x": [("cat", 1, 2, 30, 40)]})
    elif host == "coco":
        write_coco(tmp_path, {"train": {"x.jpg": [("cat", 1, 2, 30, 40)]}}, ["cat"])
    else:
        write_yolo(
            tmp_path, {"train": {"x.jpg": [("cat", 1, 2, 30, 40)]}}, ["cat"], config="names: [cat]\ntrain: train"
        )
    WRITERS[layout](tmp_path / "other", {"": TRAIN}, CLASSES)
    report = check_dataset(tmp_path)
    assert (report.layout, report.boxes) == (host, 1)
    unused = {f.file for f in report.findings if f.kind in ("unused-file", "orphan-image")}
    assert unused == {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "other").rglob("*.*")}


@EVERY
def test_json_and_tables_of_other_kinds_are_no_data_set(tmp_path: Path, layout: str) -> None:
    write_text(tmp_path / "a.json", json.dumps({"shapes": [{"label": "x"}], "kind": "drawing"}))
    write_text(tmp_path / "b.json", json.dumps([{"image": "b.jpg", "annotations": [{"result": []}]}]))
    write_text(tmp_path / "c.json", json.dumps([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]))
    write_text(tmp_path / "results.csv", "epoch,loss,x1,y1,x2,y2\n1,2,3,4,5,6\n")
    write_text(tmp_path / "metadata.csv", "file_name,caption\na.jpg,an ant\n")
    write_text(tmp_path / "metadata.jsonl", '{"file_name": "a.jpg", "text": "an ant"}\n')
    for seed, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        write_picture(tmp_path / name, seed)
    with pytest.raises(DataError, match="no data set found"):
        open_layout(tmp_path)
    WRITERS[layout](tmp_path / "data", SPLITS, CLASSES)
    reader = open_layout(tmp_path)
    assert (reader.layout, reader.splits) == (layout, ("train", "val"))


@EVERY
def test_damaged_files_are_findings_never_exceptions(tmp_path: Path, layout: str) -> None:
    root = WRITERS[layout](tmp_path, SPLITS, CLASSES)
    files = [path for path in root.rglob("*") if path.suffix in (".json", ".jsonl", ".csv")]
    rng = random.Random(0)
    pictures = {path.relative_to(root).as_posix() for path in root.rglob("*.jpg")}
    for _ in range(100):
        path = rng.choice(files)
        whole = path.read_bytes()
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((0, 1, 9))] = rng.choice((b"", b"\xff", b"\0", b'"', b"[", b"-1e999", b","))
        path.write_bytes(bytes(data))
        try:
            reader = open_layout(root)
            table = reader.read(())
        except DataError:
            pass
        else:
            named = {fault.file for fault in (*table.faults, *leftovers(reader, table))}
            assert pictures <= {*table.paths, *table.accounted, *named}
        path.write_bytes(whole)


@EVERY
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows(tmp_path: Path, layout: str, encoding: str) -> None:
    root = WRITERS[layout](tmp_path, SPLITS, CLASSES)
    for path in root.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".csv"):
            text = path.read_text(encoding="utf-8")
            path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    data = read_dataset(tmp_path)
    assert (data.layout, data.classes, len(data), len(data.boxes)) == (layout, CLASSES, 3, 4)


@pytest.mark.parametrize("layout", ["labelme", "createml", "imagefolder", "tensorflow", "retinanet"])
def test_pictures_are_found_by_their_last_part(tmp_path: Path, layout: str) -> None:
    root = WRITERS[layout](tmp_path, {"": TRAIN}, CLASSES)
    for path in root.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".csv") and path.name != "classes.csv":
            text = path.read_text().replace("images/a.jpg", "a.jpg").replace("images/b.jpg", "b.jpg")
            slash = "\\\\" if "json" in path.suffix else "\\"
            text = text.replace("a.jpg", f"D:{slash}My%20data{slash}a.jpg").replace("b.jpg", "/home/me/b.jpg")
            path.write_text(text)
    for picture in list(root.rglob("*.jpg")):
        (root / "pictures" / "raw").mkdir(parents=True, exist_ok=True)
        picture.rename(root / "pictures" / "raw" / picture.name)
    assert [data.name(i) for data in [read_dataset(tmp_path)] for i in range(2)] == [
        "pictures/raw/a.jpg",
        "pictures/raw/b.jpg",
    ]
    assert check_dataset(tmp_path).findings == ()


@pytest.mark.parametrize("layout", ["labelme", "createml", "imagefolder", "tensorflow", "retinanet"])
def test_what_leads_outside_is_named_and_never_opened(tmp_path: Path, layout: str) -> None:
    write_picture(tmp_path / "secret.jpg", 9)
    root = WRITERS[layout](tmp_path / "data", {"": TRAIN}, CLASSES)
    for path in root.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".csv"):
            path.write_text(path.read_text().replace("images/b.jpg", "b.jpg").replace("b.jpg", "../secret.jpg"))
    (picture,) = root.rglob("b.jpg")
    picture.unlink()
    report = check_dataset(root)
    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert finding.kind == "path-outside"
    assert finding.message == "../secret.jpg leads out of the data set's folder; its boxes (1) are left out"
    assert (report.images, report.boxes) == (1, 2)


def test_pictures_in_no_split_are_named(tmp_path: Path) -> None:
    WRITERS["labelme"](tmp_path, {**SPLITS, "": {"c.jpg": [("ant", 1, 2, 30, 40)]}})
    report = check_dataset(tmp_path)
    assert report.images == 4
    assert [(f.file, f.message) for f in report.findings if f.kind == "no-split"] == [
        ("c.jpg", "is in no split, while other pictures are")
    ]


def test_a_picture_of_two_files_has_the_first_ones_boxes_and_both_splits(tmp_path: Path) -> None:
    WRITERS["retinanet"](tmp_path, {"train": TRAIN}, CLASSES)
    write_text(tmp_path / "val.csv", "images/train/a.jpg,1,2,3,40,ant\nimages/train/b.jpg,5,6,70,55,zebra\n")
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (2, 3)
    assert [(f.file, f.message) for f in report.findings if f.kind == "listed-twice"] == [
        ("val.csv", "has the same boxes (1) as train.csv: they are read once"),
        ("val.csv", "images/train/a.jpg has its boxes in train.csv already; these (1) are left out"),
    ]
    assert sum(f.kind == "image-in-two-splits" for f in report.findings) == 1  # said once of all


@pytest.mark.parametrize("layout", ["tensorflow", "retinanet", "labelme"])
def test_a_copy_of_a_file_is_named_once(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path, {"": TRAIN}, CLASSES)
    for file in [*tmp_path.glob("*.csv"), *tmp_path.glob("*.json")]:
        (tmp_path / "again").mkdir(exist_ok=True)
        (tmp_path / "again" / f"{file.stem} (1){file.suffix}").write_bytes(file.read_bytes())
    report = check_dataset(tmp_path)
    twice = [f for f in report.findings if f.kind == "listed-twice"]
    assert (report.images, report.boxes) == (2, 3)
    assert len(twice) == (2 if layout == "labelme" else 1)
    assert all(re.fullmatch(r"has the same boxes \(\d\) as .*: they are read once", f.message) for f in twice)


def test_a_picture_that_one_file_lists_twice_has_all_its_boxes(tmp_path: Path) -> None:
    WRITERS["tensorflow"](tmp_path, {"": TRAIN})
    with (tmp_path / "_annotations.csv").open("a") as file:
        file.write("./b.jpg,80,60,ant,1,2,31,42\n")
    report = check_dataset(tmp_path)
    assert report.boxes == 4
    assert [f.kind for f in report.findings] == ["listed-twice"]


def test_names_of_classes_are_numbers(tmp_path: Path) -> None:
    boxes: list[Box] = [("10", 1, 2, 31, 42), ("9", 10, 12, 40, 50)]
    WRITERS["tensorflow"](tmp_path, {"": {"a.jpg": boxes}})
    assert read_dataset(tmp_path).classes == ("9", "10")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_labels", "train"),
        ("oidv6-validation-annotations-bbox", "val"),
        ("annotations_test", "test"),
        ("val2017", "val"),
        ("train_and_val", None),
        ("raccoon_labels", None),
        ("trainer", None),
    ],
)
def test_the_split_that_a_name_speaks_of(name: str, split: str | None) -> None:
    assert split_in_name(name) == split


def test_one_broken_file_leaves_the_others(tmp_path: Path) -> None:
    WRITERS["labelme"](tmp_path, SPLITS)
    (tmp_path / "train" / "a.json").write_text('{"shapes": [')
    report = check_dataset(tmp_path)
    assert [(f.kind, f.file) for f in report.findings if f.severity == "error"] == [
        ("unreadable-annotation", "train/a.json")
    ]
    assert not any(f.kind == "orphan-image" for f in report.findings)
    assert {f.kind for f in check_dataset(tmp_path).findings} == {"unreadable-annotation", "absent-class"}
    assert labelme_content("a.jpg", [])["shapes"] == []
