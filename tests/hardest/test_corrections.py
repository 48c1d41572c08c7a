"""The list says what is suspected, and what is accepted in it is carried out in a new file."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from label_scenes import CLASSES, IMAGES, detections, objects, write_scenes

import boxwright as bw
from boxwright.check import check_dataset
from boxwright.errors import DataError, WriteError
from boxwright.hardest import rank_labels
from boxwright.hardest.corrections import (
    Correction,
    Corrections,
    apply_corrections,
    correct,
    list_corrections,
    read_corrections,
)
from dataset_builders import exif_with, write_coco, write_picture, write_text, write_voc


@pytest.fixture
def wrong(tmp_path: Path) -> bw.DetectionDataset:
    """Image 0 lacks a label, in 1 one is of another class, in 2 one is moved, in 3 one is there twice."""
    changes = {image: objects(image) for image in range(4)}
    del changes[0][3]
    changes[1][2] = (CLASSES[(CLASSES.index(changes[1][2][0]) + 1) % 3], *changes[1][2][1:])
    name, x1, y1, x2, y2 = changes[2][0]
    changes[2][0] = (name, x1 + 3, y1 + 3, x2 + 3, y2 + 3)
    changes[3].append(changes[3][5])
    return write_scenes(tmp_path / "data", changes)


def accept(listed: Corrections, count: int) -> Corrections:
    first = [msgspec.structs.replace(item, accepted=place < count) for place, item in enumerate(listed.corrections)]
    return msgspec.structs.replace(listed, corrections=first)


def test_accepted_corrections_bring_the_objects_back(wrong: bw.DetectionDataset, tmp_path: Path) -> None:
    listed = list_corrections(rank_labels(detections(), wrong), wrong)
    path = tmp_path / "lists" / "hardest.json"
    accept(listed, 4).write(path)
    before = {file: file.read_bytes() for file in wrong.root.rglob("*") if file.is_file()}
    done = correct(wrong.root, path, tmp_path / "new" / "instances_train.json")
    assert (done.changed, done.added, done.removed) == (2, 1, 1)
    assert {file: file.read_bytes() for file in wrong.root.rglob("*") if file.is_file()} == before

    content = json.loads((tmp_path / "new" / "instances_train.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for image in range(IMAGES):
        own = [entry for entry in content["annotations"] if names[entry["image_id"]].endswith(f"i{image:02d}.jpg")]
        found = sorted((entry["category"], *entry["bbox"]) for entry in own)
        expected = sorted((name, x1, y1, x2 - x1, y2 - y1) for name, x1, y1, x2, y2 in objects(image))
        assert [row[0] for row in found] == [row[0] for row in expected]
        np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in expected], atol=1.0)
    assert len({entry["id"] for entry in content["annotations"]}) == IMAGES * 8


def test_the_new_file_is_a_data_set_beside_the_images(wrong: bw.DetectionDataset, tmp_path: Path) -> None:
    path = tmp_path / "hardest.json"
    accept(list_corrections(rank_labels(detections(), wrong), wrong), 4).write(path)
    done = correct(wrong.root, path, wrong.root / "train.json")
    again = bw.read_dataset(wrong.root, "train")
    assert again.layout == "coco"
    np.testing.assert_array_equal(again.boxes, done.dataset.boxes)
    np.testing.assert_array_equal(again.labels, done.dataset.labels)
    np.testing.assert_array_equal(again.offsets, done.dataset.offsets)


def test_nothing_accepted_changes_nothing(wrong: bw.DetectionDataset) -> None:
    listed = list_corrections(rank_labels(detections(), wrong), wrong)
    done = apply_corrections(listed.corrections, wrong)
    assert (done.changed, done.added, done.removed) == (0, 0, 0)
    assert done.dataset.coco_json() == wrong.coco_json()


def test_boxes_are_named_as_the_check_names_them(tmp_path: Path) -> None:
    """COCO counts through the whole file, and faulty boxes, which are left out, count too."""
    images = {"a.jpg": [("cat", 1, 1, 1, 9), ("cat", 5, 5, 30, 30)], "b.jpg": [("cat", 5, 5, 30, 30)] * 2}
    root = write_coco(tmp_path, {"train": images}, ["cat"])
    dataset = bw.read_dataset(root, "train")
    nothing = [{"boxes": [], "scores": [], "labels": []}] * 2
    listed = list_corrections(rank_labels(nothing, dataset), dataset)
    twice = [item for item in listed.corrections if item.kind == "duplicate" and item.score]
    checked = [finding for finding in check_dataset(root).findings if finding.kind == "duplicate-box"]
    assert [(item.file, item.box) for item in twice] == [(finding.file, finding.box) for finding in checked]
    assert twice[0].box == 3
    assert twice[0].suggested_class is None


def test_the_list_round_trips(wrong: bw.DetectionDataset, tmp_path: Path) -> None:
    listed = list_corrections(rank_labels(detections(), wrong), wrong, bw.get_recipe("lite320", voc_one_based=True))
    listed.write(tmp_path / "list.json")
    assert read_corrections(tmp_path / "list.json") == listed
    first = json.loads((tmp_path / "list.json").read_text())["corrections"][0]
    assert {"kind", "image", "file", "box", "class", "suggested_class", "suggested_bbox", "score"} <= first.keys()


def test_the_list_says_whose_raster_the_boxes_were_read_in(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "data", {"a": [("cat", 10, 12, 40, 50)]})
    write_picture(root / "JPEGImages" / "a.jpg", 0, exif=exif_with(6))
    dataset = bw.read_dataset(root, exif="apply")
    nothing = [{"boxes": [], "scores": [], "labels": []}]
    list_corrections(rank_labels(nothing, dataset), dataset).write(tmp_path / "list.json")
    assert read_corrections(tmp_path / "list.json").exif == "apply"
    corrected = correct(root, tmp_path / "list.json", tmp_path / "new.json").dataset
    assert corrected.boxes.tolist() == [[10, 12, 40, 50]]
    assert bw.read_dataset(root).boxes.tolist() == [[10, 10, 48, 40]]


REASONS = {
    "missing": "found with 0.90 where there is no label.",
    "wrong-class": "was found on it with 0.90.",
    "shifted": "found here with 0.90 overlaps its label by 0.",
    "duplicate": "Overlaps another label by 1.00",
}


def test_reasons(wrong: bw.DetectionDataset) -> None:
    listed = list_corrections(rank_labels(detections(), wrong), wrong).corrections[:4]
    assert {item.kind for item in listed} == set(REASONS)
    assert all(REASONS[item.kind] in item.reason for item in listed)


def entry(**changes: object) -> Correction:
    values = {"accepted": True, "score": 1.0, "kind": "missing", "image": "JPEGImages/i00.jpg", "box": None,
              "file": "Annotations/i00.xml", "class_name": None, "bbox": None, "suggested_class": "cat",
              "suggested_bbox": (1.0, 1.0, 5.0, 5.0), "reason": ""}  # fmt: skip
    return Correction(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "other.jpg"}, "no image other.jpg in split 'train'"),
        ({"box": 99}, r"no box 99 of Annotations/i00.xml"),
        ({"box": 0, "class_name": "eel", "bbox": (4.0, 5.0, 12.0, 12.0)}, "box 0 of .* has changed since"),
        ({"box": 0, "class_name": "cat", "bbox": (4.0, 5.0, 12.0, 12.5)}, "box 0 of .* has changed since"),
        ({"suggested_class": None}, "Expected a class and a suggested_bbox"),
        ({"suggested_class": "catt"}, "'catt'; did you mean 'cat'"),
        ({"suggested_bbox": None}, "Expected a class and a suggested_bbox"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        apply_corrections([entry(**changes)], write_scenes(tmp_path))


def test_files_that_are_no_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_corrections(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match="not a correction list"):
        read_corrections(write_text(tmp_path / "list.json", "{}"))
    (tmp_path / "there.json").touch()
    with pytest.raises(WriteError, match="there already"):
        correct(tmp_path, tmp_path / "list.json", tmp_path / "there.json")
