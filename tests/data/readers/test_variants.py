"""Ways in which common tools write VOC, YOLO and COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.data.layout import open_layout
from boxwright.errors import DataError
from dataset_builders import Box, coco_content, write_picture, write_text
from layout_builders import VARIANTS, write_cvat_yolo, write_yolo_beside, write_yolo_config, write_yolo_folders

CLASSES = ("zebra", "ant")
TRAIN: dict[str, list[Box]] = {
    "a.jpg": [("ant", 10, 12, 40, 50), ("zebra", 2, 3, 20, 30)],
    "b 1.jpg": [("zebra", 5, 6, 70, 55)],
    "e.jpg": [],
}
SPLITS = {"train": TRAIN, "valid": {"v.jpg": [("ant", 1, 2, 31, 42)]}}
EVERY = pytest.mark.parametrize("variant", VARIANTS)


@EVERY
def test_what_a_tool_writes_is_read(tmp_path: Path, variant: str) -> None:
    VARIANTS[variant](tmp_path, SPLITS, CLASSES)
    layout = variant.split()[0]
    whole = read_dataset(tmp_path)
    assert (whole.layout, len(whole), set(whole.classes)) == (layout, 4, set(CLASSES))
    assert whole.classes == (("ant", "zebra") if layout == "voc" else CLASSES)
    assert whole.left_out.faults == ()
    if variant != "coco label-studio":  # it has no splits
        assert available_splits(tmp_path) == ("train", "val")
        data = read_dataset(tmp_path, "train")
        np.testing.assert_allclose(data.boxes, [[10, 12, 40, 50], [2, 3, 20, 30], [5, 6, 70, 55]], atol=1e-4)
        ant, zebra = data.classes.index("ant"), data.classes.index("zebra")
        assert data.labels.tolist() == [ant, zebra, zebra]
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (4, 4)
    assert {f.kind for f in report.findings} <= {"absent-class", "no-boxes"}


@EVERY
def test_every_picture_beside_the_listed_ones_is_named(tmp_path: Path, variant: str) -> None:
    VARIANTS[variant](tmp_path, SPLITS, CLASSES)
    (picture,) = tmp_path.rglob("a.jpg")
    extra = write_picture(picture.parent / "deep" / "x.png", 99).relative_to(tmp_path).as_posix()
    report = check_dataset(tmp_path)
    read = {*read_dataset(tmp_path).paths} if report.images == 5 else set()
    assert extra in {f.file for f in report.findings} | read
    assert report.boxes == 4


def test_the_lists_of_darknet_are_found_whatever_folder_they_name(tmp_path: Path) -> None:
    write_cvat_yolo(tmp_path, {"train": TRAIN}, CLASSES)
    assert open_layout(tmp_path).split_file("train") == "train.txt"
    (tmp_path / "data").mkdir()
    for name in ("obj.data", "obj.names", "train.txt"):
        (tmp_path / name).rename(tmp_path / "data" / name)
    (tmp_path / "data" / "obj.data").rename(tmp_path / "data" / "pests.data")
    text = (tmp_path / "data" / "train.txt").read_text().replace("data/obj", "C:\\darknet\\data\\obj")
    (tmp_path / "data" / "train.txt").write_text(text)
    data = read_dataset(tmp_path, "train")
    assert (len(data), data.classes) == (3, CLASSES)
    assert {f.kind for f in check_dataset(tmp_path).findings} == {"no-boxes"}


def test_a_list_of_darknet_that_is_gone_is_named(tmp_path: Path) -> None:
    write_cvat_yolo(tmp_path, SPLITS, CLASSES)
    (tmp_path / "train.txt").unlink()
    (tmp_path / "obj.names").unlink()
    findings = {f.kind: f for f in check_dataset(tmp_path).findings}
    assert findings["missing-split"].message == "train: data/train.txt leads to no image in the data set's folder"
    assert findings["no-class-names"].severity == "warning"
    assert open_layout(tmp_path).splits == ("val",)


def test_listed_pictures_that_are_gone_are_named(tmp_path: Path) -> None:
    write_cvat_yolo(tmp_path, SPLITS, CLASSES)
    (tmp_path / "obj_train_data" / "a.jpg").unlink()
    errors = [(f.kind, f.file) for f in check_dataset(tmp_path).findings if f.severity == "error"]
    assert errors == [("missing-image", "train.txt")]


def test_text_beside_pictures_that_holds_no_boxes_is_no_data_set(tmp_path: Path) -> None:
    for seed, text in enumerate(("an ant on a leaf\n", "", "10,20,30,40,50,60,70,80,hello\n", "cat 0.1 0.2 0.3 0.4\n")):
        write_picture(tmp_path / f"{seed}.jpg", seed)
        write_text(tmp_path / f"{seed}.txt", text)
    with pytest.raises(DataError, match="no data set found"):
        open_layout(tmp_path)


def test_class_files_that_differ_are_named(tmp_path: Path) -> None:
    write_yolo_beside(tmp_path, SPLITS, CLASSES)
    write_text(tmp_path / "valid" / "classes.txt", "ant\nzebra\n")
    report = check_dataset(tmp_path)
    assert report.classes == CLASSES
    assert [f.file for f in report.findings if f.kind == "unused-file"] == ["valid/classes.txt"]


def test_what_concerns_a_flat_folder_as_a_whole_names_it(tmp_path: Path) -> None:
    write_yolo_beside(tmp_path, {"": {"a.jpg": [("ant", 1, 2, 31, 42)]}}, CLASSES)
    assert [(f.kind, f.file) for f in check_dataset(tmp_path).findings] == [("absent-class", ".")]


def test_numbers_without_names(tmp_path: Path) -> None:
    write_yolo_folders(tmp_path, SPLITS, CLASSES)
    (tmp_path / "classes.txt").unlink()
    report = check_dataset(tmp_path)
    assert report.classes == ("class_0", "class_1")
    assert "no-class-names" in {f.kind for f in report.findings if f.severity == "warning"}


@pytest.mark.parametrize("name", ["dataset_config.yaml", "Pests.YML", "data.yaml"])
def test_a_configuration_as_the_argument(tmp_path: Path, name: str) -> None:
    write_yolo_config(tmp_path, SPLITS, CLASSES)
    (tmp_path / "pests_v2.yaml").rename(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        assert read_dataset(path).classes == CLASSES
        assert available_splits(path) == ("train", "val")


def test_the_configuration_that_is_given_counts(tmp_path: Path) -> None:
    write_yolo_config(tmp_path, SPLITS, CLASSES)
    text = (tmp_path / "pests_v2.yaml").read_text()
    write_text(tmp_path / "pests_v1.yaml", text.replace("zebra", "horse"))
    with pytest.raises(DataError, match=r"pests_v1.yaml and pests_v2.yaml differ: give one of them"):
        open_layout(tmp_path)
    assert read_dataset(tmp_path / "pests_v1.yaml").classes == ("horse", "ant")
    assert read_dataset(tmp_path / "pests_v2.yaml").classes == CLASSES
    report = check_dataset(tmp_path / "pests_v2.yaml")
    assert [f.file for f in report.findings if f.kind == "unused-file"] == ["pests_v1.yaml"]
    write_text(tmp_path / "data.yaml", text)
    assert read_dataset(tmp_path).classes == CLASSES
    assert read_dataset(tmp_path / "pests_v1.yaml").classes == ("horse", "ant")


def test_yaml_of_other_kinds_is_no_configuration(tmp_path: Path) -> None:
    write_yolo_folders(tmp_path, SPLITS, CLASSES)
    write_text(tmp_path / "args.yaml", "epochs: 3\ntrain: yes\n")
    write_text(tmp_path / "broken.yaml", "a: [\n")
    assert read_dataset(tmp_path).classes == CLASSES
    with pytest.raises(DataError, match=r"broken.yaml: YAML that can't be parsed"):
        open_layout(tmp_path / "broken.yaml")


def test_a_configuration_that_leads_nowhere(tmp_path: Path) -> None:
    write_picture(tmp_path / "pictures" / "a.jpg", 1)
    write_text(tmp_path / "mine.yaml", "train: pictures\nnames: [ant]\n")
    with pytest.raises(DataError, match=r"mine.yaml leads to images, but none of them has a label file"):
        open_layout(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "written",
    [
        "images\\1/{}",
        "images\\{}",
        "C:\\Users\\me\\data\\images\\{}",
        "/data/upload/1/{}",
        "../../label-studio/media/upload/1/{}",
        "/data/local-files/?d=raw/{}",
        "file:///mnt/images/{}",
    ],
)
@pytest.mark.parametrize("name", ["90fbb0c7-a.jpg", "a%20b.jpg"])
def test_coco_paths_of_other_machines(tmp_path: Path, written: str, name: str) -> None:
    content = coco_content({written.format(name): [("ant", 10, 12, 40, 50)]}, CLASSES)
    write_text(tmp_path / "result.json", json.dumps(content))
    write_picture(tmp_path / "images" / name.replace("%20", " "), 1)
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (1, 1)
    assert {f.kind for f in report.findings} == {"absent-class"}


def test_a_name_of_two_pictures_means_neither(tmp_path: Path) -> None:
    content = coco_content({"/home/me/a.jpg": [("ant", 10, 12, 40, 50)], "b.jpg": [("ant", 1, 2, 31, 42)]}, ("ant",))
    write_text(tmp_path / "result.json", json.dumps(content))
    for seed, name in enumerate(("x/a.jpg", "y/a.jpg", "b.jpg")):
        write_picture(tmp_path / name, seed)
    errors = [f for f in check_dataset(tmp_path).findings if f.severity == "error"]
    assert errors[0].kind == "path-outside"
    assert errors[0].message.startswith("/home/me/a.jpg ")


def test_what_is_missing_is_quoted_as_written(tmp_path: Path) -> None:
    content = coco_content({"images\\1/gone.jpg": [], "b.jpg": [("ant", 1, 2, 31, 42)]}, ("ant",))
    write_text(tmp_path / "result.json", json.dumps(content))
    write_picture(tmp_path / "images" / "b.jpg", 1)
    (error,) = [f for f in check_dataset(tmp_path).findings if f.severity == "error"]
    assert error.message == "no image images\\1/gone.jpg"
