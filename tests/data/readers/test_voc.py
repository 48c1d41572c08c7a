from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from boxwright.check import check_dataset
from boxwright.data import CROWD, DIFFICULT, NORMAL, available_splits, read_dataset
from boxwright.errors import DataError
from dataset_builders import Box, voc_object, voc_xml, write_picture, write_text, write_voc
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


def write_pair(root: Path, image: str, file: str, *boxes: Box, filename: str | None = None) -> None:
    write_picture(root / image, sum(map(ord, image)))
    write_text(root / file, voc_xml(Path(image).name if filename is None else filename, boxes))


ONE: Box = ("x", 1, 1, 20, 20)


def test_pictures_of_sub_folders_have_their_own_boxes(tmp_path: Path) -> None:
    for place, folder in enumerate(("", "day0/", "day1/", "day1/x/")):
        write_pair(tmp_path, f"JPEGImages/{folder}a.jpg", f"Annotations/{folder}a.xml", ("x", 1, 1, 20 + place, 20))
    data = read_dataset(tmp_path)
    assert {data.name(i): data.target(i).boxes[0, 2] for i in range(4)} == {
        "JPEGImages/a.jpg": 20,
        "JPEGImages/day0/a.jpg": 21,
        "JPEGImages/day1/a.jpg": 22,
        "JPEGImages/day1/x/a.jpg": 23,
    }
    assert available_splits(tmp_path) == ("train", "val", "test")
    assert check_dataset(tmp_path).findings == ()


def test_pictures_in_sub_folders_and_files_in_one(tmp_path: Path) -> None:
    write_pair(tmp_path, "images/day0/a.jpg", "annotations/a.xml", ONE)
    write_pair(tmp_path, "images/day1/b.jpg", "annotations/b.xml", ONE)
    assert len(read_dataset(tmp_path).labels) == 2


def test_a_missing_picture_is_not_its_namesakes(tmp_path: Path) -> None:
    for folder in ("day0", "day1"):
        write_pair(tmp_path, f"JPEGImages/{folder}/a.jpg", f"Annotations/{folder}/a.xml", ONE)
    (tmp_path / "JPEGImages" / "day0" / "a.jpg").unlink()
    data = read_dataset(tmp_path)
    assert [data.name(i) for i in range(len(data))] == ["JPEGImages/day1/a.jpg"]
    assert [fault.kind for fault in data.left_out.faults] == ["missing-image"]


@pytest.mark.parametrize("folder", ["", "all/"])
def test_files_beside_the_pictures(tmp_path: Path, folder: str) -> None:
    for split in ("train", "valid"):
        write_pair(tmp_path, f"{folder}{split}/a.jpg", f"{folder}{split}/a.xml", ONE)
    assert available_splits(tmp_path) == ("train", "val")
    assert len(read_dataset(tmp_path, "val").labels) == 1
    assert check_dataset(tmp_path).boxes == 2


def test_two_years_under_one_root(tmp_path: Path) -> None:
    for year, names in (("VOC2007", {"a": [ONE], "b": [ONE]}), ("VOC2012", {"a": [ONE, ONE], "c": [ONE]})):
        write_voc(tmp_path / year, names, {"train": ["a"], "val": [name for name in names if name != "a"]})
    assert available_splits(tmp_path) == ("train", "val")
    train, val = (read_dataset(tmp_path, split) for split in ("train", "val"))
    assert [train.name(i) for i in range(2)] == ["VOC2007/JPEGImages/a.jpg", "VOC2012/JPEGImages/a.jpg"]
    assert [val.name(i) for i in range(2)] == ["VOC2007/JPEGImages/b.jpg", "VOC2012/JPEGImages/c.jpg"]
    assert np.diff(train.offsets).tolist() == [1, 2]


def test_folders_of_files_that_are_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_pair(tmp_path, f"JPEGImages/{split}/a.jpg", f"Annotations/{split}/a.xml", ONE)
    assert available_splits(tmp_path) == ("train", "test")
    assert check_dataset(tmp_path).splits[1].images == 1


def test_each_bndbox_of_an_object_is_a_box(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": []})
    first, second = (voc_object("dog", left, 1, left + 19, 20) for left in (1, 30))
    two = first.replace("</object>", "") + second.partition("</difficult>")[2]
    man, head = (voc_object(name, 2, 2, side, side) for name, side in (("man", 9), ("head", 4)))
    part = man.replace("</object>", head.replace("object>", "part>") + "</object>")
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml("a.jpg", extra=two + part))
    data = read_dataset(tmp_path)
    assert data.boxes.tolist() == [[1, 1, 20, 20], [30, 1, 49, 20], [2, 2, 9, 9]]
    assert data.numbers.tolist() == [0, 1, 2]
    assert data.classes == ("dog", "man")


def test_polygons_and_turned_boxes_give_the_box_around_them(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": []})
    points = "<pt><x>10</x><y>30</y></pt><pt><x>40</x><y>20</y></pt><pt><x>20</x><y>50</y></pt>"
    turned = "<robndbox><cx>40</cx><cy>30</cy><w>20</w><h>10</h><angle>1.5707963267948966</angle></robndbox>"
    shapes = [f"<polygon><username>me</username>{points}</polygon>", turned, "<polygon/>", "<robndbox/>"]
    extra = "".join(f"<object><name>dog</name>{shape}</object>" for shape in shapes)
    write_text(tmp_path / "Annotations" / "a.xml", voc_xml("a.jpg", extra=extra))
    data = read_dataset(tmp_path)
    np.testing.assert_allclose(data.boxes, [[10, 20, 40, 50], [35, 20, 45, 40]], atol=1e-5)
    assert [(fault.kind, fault.box) for fault in data.left_out.faults] == [("bad-number", 2), ("bad-number", 3)]


MANY = {name: [ONE] for name in ("a", "b", "photo 1", "photo 0", "c", "d")}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("a\nb\nphoto 1\n", "photo 0\nc\nd\n"),
        ("a  1\nb -1\nphoto 1 1\n", "photo 0  0\nc 1\nd -1\n"),
        ("photo 1\nphoto 0\n", "c 1\nd 0\n"),
        ('"photo 1"\n"a"\n', "'JPEGImages/photo 0.jpg'\nc\n"),
        ("a.jpg\nb.jpg\nphoto 1.jpg\n", "JPEGImages/photo 0.jpg\nc.xml\n./JPEGImages/d.jpg\n"),
        ("JPEGImages/a.jpg Annotations/a.xml\nb.jpg\tb.xml\n", "c.jpg,c.xml\nd.jpg;d.xml\n/x/photo 1.jpg\n"),
        ("a\r\nb\r\n\r\nphoto 1", "c\n  d  \nphoto 0"),
    ],
)
@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets", "imagesets/main", "."])
def test_a_split_that_a_user_wrote_is_used(tmp_path: Path, folder: str, train: str, val: str) -> None:
    write_voc(tmp_path, MANY)
    write_text(tmp_path / folder / "train.txt", train)
    write_text(tmp_path / folder / "val.txt", val)
    assert available_splits(tmp_path) == ("train", "val")
    report = check_dataset(tmp_path)
    assert [finding for finding in report.findings if finding.kind != "similar-class-names"] == []
    counts = [len([line for line in text.splitlines() if line.strip()]) for text in (train, val)]
    assert [split.images for split in report.splits] == counts


def test_lists_of_classes_count_where_there_are_no_others(tmp_path: Path) -> None:
    write_voc(tmp_path, MANY)
    for name, text in {"dog_train": "a 1\nb -1\n", "cat_train": "b 1\nc -1\n", "dog_val": "d 1\n"}.items():
        write_text(tmp_path / "ImageSets" / "Main" / f"{name}.txt", text)
    assert available_splits(tmp_path) == ("train", "val")
    assert [len(read_dataset(tmp_path, split)) for split in ("train", "val")] == [3, 1]
    write_text(tmp_path / "ImageSets" / "Main" / "train.txt", "a\n")
    write_text(tmp_path / "ImageSets" / "Main" / "val.txt", "d\n")
    write_text(tmp_path / "ImageSets" / "Segmentation" / "train.txt", "a\n")
    assert [len(read_dataset(tmp_path, split)) for split in ("train", "val")] == [1, 1]
    assert check_dataset(tmp_path).findings == ()


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
