"""What lies in a data set's folder and isn't read is named; what boxwright wrote there never becomes data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright._util.ownership import mark_folder
from boxwright._util.writing import write_json
from boxwright.check import CheckReport, check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.errors import DataError
from dataset_builders import Box, coco_content, write_coco, write_picture, write_text, write_voc, write_yolo

SOUND: list[Box] = [("dog", 10, 12, 40, 50), ("cat", 45, 5, 75, 30)]
NAMES = ("dog", "cat")
IMAGES = {"a.jpg": SOUND, "b.jpg": SOUND}


def voc(root: Path) -> Path:
    return write_voc(root, {"a": SOUND, "b": SOUND}, {"train": ["a"], "val": ["b"]})


def coco(root: Path) -> Path:
    return write_coco(root, {"train": {"a.jpg": SOUND}, "val": {"b.jpg": SOUND}}, NAMES)


def yolo(root: Path) -> Path:
    config = "names: [dog, cat]\ntrain: train/images\nval: val/images\n"
    return write_yolo(root, {"train": {"a.jpg": SOUND}, "val": {"b.jpg": SOUND}}, NAMES, config=config)


def yolo_folders(root: Path) -> Path:
    return write_yolo(root, {"train": {"a.jpg": SOUND}, "val": {"b.jpg": SOUND}}, NAMES, above=False)


LAYOUTS = [voc, coco, yolo, yolo_folders]


def found(report: CheckReport) -> list[tuple[str, str]]:
    return [(finding.kind, finding.file) for finding in report.findings]


@pytest.mark.parametrize("make", LAYOUTS)
@pytest.mark.parametrize("inside", ["runs/one", "images/run", "JPEGImages/run", "a", "train"])
def test_a_run_in_the_folder_changes_nothing(tmp_path: Path, make: Callable[[Path], Path], inside: str) -> None:
    make(tmp_path)
    before = check_dataset(tmp_path)
    run = tmp_path / inside / "r"
    write_picture(run / "predictions" / "images" / "a.jpg", 5)
    write_yolo(run, {"train": IMAGES}, NAMES, config="names: [x]\ntrain: train\n")
    write_coco(run, {"train": IMAGES}, NAMES)
    write_voc(run, {"z": SOUND})
    mark_folder(run, "run")
    after = check_dataset(tmp_path)
    assert (after.images, after.boxes, after.classes, after.splits) == (
        before.images,
        before.boxes,
        before.classes,
        before.splits,
    )
    assert [entry for entry in found(after) if entry not in found(before)] == [("boxwright-output", f"{inside}/r")]
    assert available_splits(tmp_path) == ("train", "val")
    assert after.exit_code == 0


@pytest.mark.parametrize("make", LAYOUTS)
def test_json_of_boxwright_in_the_folder_changes_nothing(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    make(tmp_path)
    before = check_dataset(tmp_path)
    for name in ("train.json", "annotations/instances_test.json"):
        write_json(tmp_path / name, {"generator": "boxwright 1.0", **coco_content({"a.jpg": SOUND}, NAMES)})
    after = check_dataset(tmp_path)
    assert (after.images, after.boxes, after.splits) == (before.images, before.boxes, before.splits)
    extra = {entry for entry in found(after) if entry not in found(before)}
    assert extra == {("boxwright-output", n) for n in ("train.json", "annotations/instances_test.json")}


def test_json_of_boxwright_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    """Corrected annotations, say, in a folder of their own."""
    for seed, name in enumerate(IMAGES):
        write_picture(tmp_path / "images" / name, seed)
    write_json(tmp_path / "train.json", {"generator": "boxwright 1.0", **coco_content(IMAGES, NAMES)})
    assert len(read_dataset(tmp_path, "train")) == 2
    assert check_dataset(tmp_path).findings == ()


def test_drawn_pictures_are_no_background(tmp_path: Path) -> None:
    yolo(tmp_path)
    write_picture(tmp_path / "train" / "images" / "drawn.jpg", 7, comment=b"made by boxwright 1.0")
    write_picture(tmp_path / "train" / "images" / "taken.jpg", 8, comment=b"taken by me")
    data = read_dataset(tmp_path, "train")
    assert [data.name(i) for i in range(len(data))] == ["train/images/a.jpg", "train/images/taken.jpg"]
    assert ("boxwright-output", "train/images/drawn.jpg") in found(check_dataset(tmp_path))
    voc(tmp_path / "voc")
    write_picture(tmp_path / "voc" / "JPEGImages" / "drawn.jpg", 7, comment=b"made by boxwright 1.0")
    assert found(check_dataset(tmp_path / "voc")) == [("boxwright-output", "JPEGImages/drawn.jpg")]


@pytest.mark.parametrize("make", LAYOUTS)
def test_everything_else_is_named(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    make(tmp_path)
    before = found(check_dataset(tmp_path))
    write_picture(tmp_path / "more" / "deep" / "c.png", 9)
    names = ("more/train.txt", "more/classes.txt", "set.yaml", "boxes.csv", "more/x.json", "x.names", "odd.xml")
    for name in names:
        write_text(tmp_path / name, "<a/>" if name == "odd.xml" else "{}")
    for name in ("README.txt", "LICENSE.txt", "notes.md", ".hidden.txt", "code.py"):
        write_text(tmp_path / name, "{}")
    extra = {entry for entry in found(check_dataset(tmp_path)) if entry not in before}
    assert extra == {("orphan-image", "more/deep/c.png"), *(("unused-file", name) for name in names)}


def test_links_out_of_the_folder_are_named_and_followed_on_request(tmp_path: Path) -> None:
    yolo_folders(tmp_path / "store")
    root = tmp_path / "data"
    root.mkdir()
    for name in ("images", "labels"):
        (root / name).symlink_to(tmp_path / "store" / name)
    with pytest.raises(DataError, match=r"images leads to .*store/images; .*--allow-links"):
        read_dataset(root)
    data = read_dataset(root, "train", allow_links=True)
    assert len(data.labels) == 2
    assert dict(data.left_out.links)["images"] == str(tmp_path / "store" / "images")
    assert f"images leads to {tmp_path / 'store' / 'images'}" in data.left_out.summary()
    assert data.path(0).is_file()
    assert available_splits(root, allow_links=True) == ("train", "val")
    report = check_dataset(root, allow_links=True)
    assert (report.images, report.boxes) == (2, 4)
    assert ("followed-link", "images") in found(report)


def test_a_linked_folder_beside_the_data_is_a_finding(tmp_path: Path) -> None:
    voc(tmp_path / "data")
    write_picture(tmp_path / "elsewhere" / "a.jpg", 3)
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "same").symlink_to(tmp_path / "data" / "JPEGImages")
    (finding,) = check_dataset(tmp_path / "data").findings
    assert (finding.kind, finding.file, finding.severity) == ("path-outside", "more", "error")
    assert "--allow-links" in finding.message


@pytest.mark.parametrize("absolute", [True, False])
def test_a_path_of_data_yaml_outside_the_folder(tmp_path: Path, absolute: bool) -> None:
    store = yolo(tmp_path / "store")
    base = store if absolute else "../store"
    config = f"names: [dog, cat]\npath: {base}\ntrain: train/images\nval: val/images\n"
    write_text(tmp_path / "data" / "data.yaml", config)
    with pytest.raises(DataError, match=r"store.*--allow-links"):
        read_dataset(tmp_path / "data")
    data = read_dataset(tmp_path / "data", "train", allow_links=True)
    assert len(data.labels) == 2
    assert data.path(0).is_file()
    report = check_dataset(tmp_path / "data", allow_links=True)
    assert (report.images, report.boxes, report.errors) == (2, 4, 0)
    assert [finding.kind for finding in report.findings] == ["followed-link"]
    assert str(store) in report.findings[0].message


def test_a_linked_annotation_file_is_not_opened(tmp_path: Path) -> None:
    root = voc(tmp_path / "data")
    secret = write_text(tmp_path / "secret.xml", (root / "Annotations" / "a.xml").read_text())
    (root / "Annotations" / "a.xml").unlink()
    (root / "Annotations" / "a.xml").symlink_to(secret)
    assert len(read_dataset(root)) == 1
    assert len(read_dataset(root, allow_links=True)) == 2


def test_images_behind_a_link_within_the_folder_are_read_once(tmp_path: Path) -> None:
    yolo_folders(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "images").rename(tmp_path / "store" / "pictures")
    (tmp_path / "images").symlink_to("store/pictures")
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (2, 4)
    assert [kind for kind, _ in found(report)] == ["no-class-names"]


def test_what_is_met_on_the_way_is_said_where_nothing_is_found(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.jpg", 1)
    write_text(tmp_path / "data.yaml", "names: [x]\ntrain: images\n")
    with pytest.raises(DataError, match=r"data\.yaml leads to images, but none of them has a label file"):
        read_dataset(tmp_path)
    write_text(tmp_path / "train.json", json.dumps({"images": 3}))
    with pytest.raises(DataError, match=r"nearest is COCO: train\.json has images, but no annotations"):
        check_dataset(tmp_path)
