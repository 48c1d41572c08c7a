from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from boxwright.data import CROWD, DIFFICULT, NORMAL, available_splits, read_dataset
from boxwright.errors import DataError
from dataset_builders import voc_object, voc_xml, write_picture, write_text, write_voc
from real_data import SHARED

IMAGES = {
    "a": [("dog", 10, 12, 40, 50), ("cat", 1, 1, 20, 30)],
    "b": [("cat", 5, 6, 70, 55)],
    "c": [],
    "d": [("bird", 8, 8, 30, 30)],
}
LISTS = {"train": ["a", "b"], "valid": ["c"], "test": ["d"]}


def test_numbers_are_kept_and_classes_sorted_over_all_splits(tmp_path: Path) -> None:
    write_voc(tmp_path, IMAGES, LISTS)
    data = read_dataset(tmp_path, "train")
    assert (data.layout, data.split, data.classes) == ("voc", "train", ("bird", "cat", "dog"))
    assert [data.name(i) for i in range(len(data))] == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]
    boxes, labels, code = data.target(0)
    np.testing.assert_array_equal(boxes, np.array([[10, 12, 40, 50], [1, 1, 20, 30]], np.float32))
    assert (labels.tolist(), code.tolist()) == ([2, 1], [NORMAL, NORMAL])
    np.testing.assert_array_equal(data.xywh[0], [10, 12, 30, 38])
    assert data.areas[0] == 30 * 38
    assert data.category_ids.tolist() == [1, 2, 3]
    assert data.image_ids.tolist() == [1, 2]
    assert data.sizes.tolist() == [[60, 80], [60, 80]]
    assert data.path(1).is_file()


def test_splits_of_the_lists(tmp_path: Path) -> None:
    write_voc(tmp_path, IMAGES, {**LISTS, "trainval": ["a", "b", "c"]})
    write_text(tmp_path / "ImageSets" / "Main" / "dog_train.txt", "a  1\nb -1\n")  # lists of one class are no splits
    assert available_splits(tmp_path) == ("train", "val", "test", "trainval")
    assert len(read_dataset(tmp_path, "val")) == len(read_dataset(tmp_path, "valid")) == 1
    assert len(read_dataset(tmp_path, "trainval")) == 3
    assert len(read_dataset(tmp_path)) == 4
    with pytest.raises(DataError, match=r"no split 'tset'; did you mean 'test'\?"):
        read_dataset(tmp_path, "tset")


def test_original_voc_counts_from_one(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("dog", 1, 1, 80, 60)]})
    text = voc_xml("a.jpg", [("dog", 1, 1, 80, 60)], database="The VOC2007 Database")
    forced = read_dataset(tmp_path, voc_one_based=True)
    assert forced.boxes.tolist() == [[0, 0, 80, 60]]
    assert read_dataset(tmp_path).boxes.tolist() == [[1, 1, 80, 60]]
    write_text(tmp_path / "Annotations" / "a.xml", text)
    data = read_dataset(tmp_path)
    assert data.boxes.tolist() == [[0, 0, 80, 60]]
    assert data.xywh.tolist() == [[0, 0, 80, 60]]
    assert data.left_out.rounded == 0
    assert read_dataset(tmp_path, voc_one_based=False).boxes.tolist() == [[1, 1, 80, 60]]


def test_faults_are_judged_on_the_numbers_as_written(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("dog", 7, 5, 7, 9), ("dog", 8, 5, 7, 9), ("dog", 7, 5, 8, 9)]})
    data = read_dataset(tmp_path, voc_one_based=True)
    assert [fault.kind for fault in data.left_out.faults] == ["zero-area", "inverted-box"]
    assert data.boxes.tolist() == [[6, 4, 8, 9]]


def test_difficult_boxes_are_coded_and_kept(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("dog", 1, 1, 30, 30)]})
    extra = voc_object("dog", 40, 10, 70, 50, difficult=1)
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml("a.jpg", [("dog", 1, 1, 30, 30)], extra=extra))
    data = read_dataset(tmp_path)
    assert data.code.tolist() == [NORMAL, DIFFICULT]
    assert CROWD not in data.code


def test_flat_folders_hidden_files_and_upper_case(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "A.JPG", 1)
    write_text(tmp_path / "annots" / "A.XML", voc_xml("A.jpg", [("x", 1, 1, 20, 20)]))
    write_text(tmp_path / "annots" / "._A.xml", "\x00macOS")
    write_text(tmp_path / "images" / "._A.JPG", "\x00macOS")
    data = read_dataset(tmp_path)
    assert len(data) == 1
    assert data.name(0) == "images/A.JPG"
    assert not data.left_out.faults


def test_the_stem_of_the_annotation_wins_over_filename(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 20, 20)], "b": [("x", 2, 2, 20, 20)]})
    for filename in ("b.jpg", "a", "a.png", "renamed.jpg", "", "/home/me/pictures/a.jpg"):
        write_text(tmp_path / "Annotations" / "a.xml", voc_xml(filename, [("x", 1, 1, 20, 20)]))
        data = read_dataset(tmp_path)
        assert [data.name(i) for i in range(2)] == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"], filename
    (tmp_path / "JPEGImages" / "a.jpg").rename(tmp_path / "JPEGImages" / "renamed.jpg")
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml("renamed.jpg", [("x", 1, 1, 20, 20)]))
    assert read_dataset(tmp_path).name(1) == "JPEGImages/renamed.jpg"


def test_nothing_outside_the_folder_is_touched(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "data", {"a": [("x", 1, 1, 20, 20)], "b": [("x", 1, 1, 20, 20)], "c": []})
    write_picture(tmp_path / "secret.jpg", 9)
    write_text(root / "Annotations" / "a.xml", voc_xml("../../secret.jpg", [("x", 1, 1, 20, 20)]))
    (root / "JPEGImages" / "b.jpg").unlink()
    (root / "JPEGImages" / "b.jpg").symlink_to(tmp_path / "secret.jpg")
    write_text(tmp_path / "outside.xml", voc_xml("c.jpg", [("x", 1, 1, 20, 20)]))
    (root / "Annotations" / "d.xml").symlink_to(tmp_path / "outside.xml")
    data = read_dataset(root)
    assert [data.name(i) for i in range(len(data))] == ["JPEGImages/c.jpg"]
    assert {(fault.kind, fault.file) for fault in data.left_out.faults} == {
        ("path-outside", "Annotations/a.xml"),
        ("path-outside", "Annotations/b.xml"),
        ("path-outside", "Annotations/d.xml"),
    }


def test_erroneous_boxes_and_files_are_left_out(tmp_path: Path) -> None:
    boxes = [
        ("x", 10, 10, 30, 30),
        ("x", 10, 10, 10, 30),
        ("x", 30, 10, 10, 30),
        ("x", 90, 10, 99, 30),
        ("x", -0.5, 10, 30, 30),
        ("x", 10, 10, 85, 30),
    ]
    write_voc(tmp_path, {"a": boxes, "gone": boxes[:1], "bad": [], "evil": []})
    extra = voc_object("x", "nan", 1, 2, 3) + voc_object("x", "one", 1, 2, 3) + "<object><name>x</name></object>"
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml("a.jpg", boxes, extra=extra))
    (tmp_path / "JPEGImages" / "gone.jpg").unlink()
    write_text(tmp_path / "Annotations" / "bad.xml", "<annotation><object></annotation>")
    entity = '<!DOCTYPE a [<!ENTITY e "eeee">]><annotation><filename>&e;</filename></annotation>'
    write_text(tmp_path / "Annotations" / "evil.xml", entity)
    data = read_dataset(tmp_path)
    assert [data.name(i) for i in range(len(data))] == ["JPEGImages/a.jpg"]
    assert data.boxes.tolist() == [[10, 10, 30, 30], [0, 10, 30, 30], [10, 10, 80, 30]]
    assert data.xywh[2].tolist() == [10, 10, 75, 20]
    assert [(fault.kind, fault.box) for fault in data.left_out.faults] == [
        ("unreadable-annotation", None),
        ("refused", None),
        ("missing-image", None),
        ("zero-area", 1),
        ("inverted-box", 2),
        ("outside-box", 3),
        ("bad-number", 6),
        ("bad-number", 7),
        ("bad-number", 8),
    ]
    assert (data.left_out.rounded, data.left_out.clipped) == (1, 1)
    assert data.left_out.summary() == (
        "3 files left out (1 unreadable-annotation, 1 refused, 1 missing-image); 6 boxes left out "
        "(1 zero-area, 1 inverted-box, 1 outside-box, 3 bad-number); 1 box clipped to the image by more than 1 px"
    )


def test_faults_are_those_of_the_split(tmp_path: Path) -> None:
    write_voc(tmp_path, IMAGES, {**LISTS, "test": ["d", "gone"]})
    write_text(tmp_path / "Annotations" / "b.xml", "<annotation>")
    faults = {split: read_dataset(tmp_path, split).left_out.faults for split in ("train", "val", "test")}
    assert {split: [fault.file for fault in found] for split, found in faults.items()} == {
        "train": ["Annotations/b.xml"],
        "val": [],
        "test": ["ImageSets/Main/test.txt"],
    }


def test_a_wrong_size_field_cuts_no_box(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("x", 10, 10, 70, 50)]})
    for size in ((30, 40), (0, 0)):
        write_text(tmp_path / "Annotations" / "a.xml", voc_xml("a.jpg", [("x", 10, 10, 70, 50)], size=size))
        data = read_dataset(tmp_path)
        assert data.boxes.tolist() == [[10, 10, 70, 50]]
        assert data.sizes.tolist() == [[60, 80]]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data sets are not here")
def test_real_sets_have_the_counts_they_are_known_for() -> None:
    cells = read_dataset(SHARED / "data" / "bccd")
    assert len(cells) == 364
    assert cells.classes == ("Platelets", "RBC", "WBC")
    assert np.bincount(cells.labels).tolist() == [361, 4155 - 2, 372]  # two boxes of no area are left out
    sizes = {
        split: len(read_dataset(SHARED / "data" / "bccd", split)) for split in ("train", "val", "trainval", "test")
    }
    assert sizes == {"train": 205, "val": 87, "trainval": 292, "test": 72}
    raccoons = read_dataset(SHARED / "data" / "raccoon")
    assert (len(raccoons), len(raccoons.boxes)) == (200, 217)
