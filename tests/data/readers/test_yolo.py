from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.data.readers.yolo_labels import label_path, parse_line
from boxwright.errors import DataError
from dataset_builders import Box, picture, write_coco, write_picture, write_text, write_yolo, yolo_text

CLASSES = ("zebra", "ant")
SPLITS: dict[str, dict[str, list[Box]]] = {
    "train": {"a.jpg": [("ant", 10, 12, 40, 50), ("zebra", 2, 3, 20, 30)], "b.jpg": [("zebra", 5, 6, 70, 55)]},
    "valid": {"v.jpg": [("ant", 1, 2, 31, 42)]},
}
CONFIG = "names: [zebra, ant]\nnc: 2\n"


@pytest.mark.parametrize(
    "lines",
    [
        "train: ../train/images\nval: ../valid/images\n",  # Roboflow
        "train: train/images\nval: valid/images\n",
        "path: /content/datasets/cells\ntrain: train/images\nval: valid/images\n",
        "path: ../datasets/coco8\ntrain: train\nval: valid\n",
        "train: /home/me/cells/train/images\nval: C:\\cells\\valid\\images\n",
        "train: [train/images]\nvalid: valid/images\ntest: test/images\n",
    ],
)
def test_paths_of_data_yaml_are_tried_below_its_folder(tmp_path: Path, lines: str) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, config=CONFIG + lines)
    assert available_splits(tmp_path) == ("train", "val")
    data = read_dataset(tmp_path, "train")
    assert (data.layout, data.classes) == ("yolo", CLASSES)
    assert [data.name(i) for i in range(2)] == ["train/images/a.jpg", "train/images/b.jpg"]
    np.testing.assert_allclose(data.boxes[:2], [[10, 12, 40, 50], [2, 3, 20, 30]], atol=1e-4)
    assert data.labels.tolist() == [1, 0, 0]
    assert data.category_ids.tolist() == [1, 2]
    assert data.sizes.tolist() == [[60, 80], [60, 80]]
    assert len(read_dataset(tmp_path)) == 3
    assert len(read_dataset(tmp_path / "data.yaml", "val")) == 1


@pytest.mark.parametrize("above", [True, False])
def test_folders_alone_and_unnamed_classes(tmp_path: Path, above: bool) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, above=above)
    assert available_splits(tmp_path) == ("train", "val")
    data = read_dataset(tmp_path, "val")
    assert data.classes == ("class_0", "class_1")
    assert data.labels.tolist() == [1]
    write_text(tmp_path / "classes.txt", "zebra\nant\n")
    assert read_dataset(tmp_path, "val").classes == CLASSES


def test_flat_folders_and_names_as_a_dictionary(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "A.PNG", 1)
    write_text(tmp_path / "labels" / "A.txt", "3 0.5 0.5 0.25 0.5\n7 0.1 0.1 0.1 0.1\n")
    write_text(tmp_path / "data.yaml", "names: {3: three, 5: five, 7: seven}\n")
    data = read_dataset(tmp_path)
    assert data.classes == ("three", "five", "seven")
    assert data.labels.tolist() == [0, 2]
    assert data.boxes[0].tolist() == [30, 15, 50, 45]


def test_lists_of_files(tmp_path: Path) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, above=False, config=CONFIG + "train: train.txt\nval: val.txt\n")
    write_text(tmp_path / "train.txt", "./images/train/a.jpg\nimages/train/b.jpg\n")
    write_text(tmp_path / "val.txt", "/data/cells/images/valid/v.jpg\n../../elsewhere/w.jpg\n")
    assert len(read_dataset(tmp_path, "train")) == 2
    data = read_dataset(tmp_path, "val")
    assert [data.name(i) for i in range(len(data))] == ["images/valid/v.jpg"]
    assert [fault.kind for fault in data.left_out.faults] == ["path-outside"]


def test_the_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "images" / "turned.jpg"
    path.parent.mkdir()
    Image.fromarray(picture(0)).save(path, exif=exif)  # 60 x 80 stored, 80 x 60 upright
    write_text(tmp_path / "labels" / "turned.txt", "0 0.5 0.5 0.5 0.5\n")
    data = read_dataset(tmp_path)
    assert data.sizes.tolist() == [[80, 60]]
    assert data.boxes.tolist() == [[15, 20, 45, 60]]


def test_erroneous_lines_and_files_are_left_out(tmp_path: Path) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, config=CONFIG + "train: train/images\nval: valid/images\n")
    lines = ["0 .5 .5 .2 .2", "", "2 .5 .5 .2 .2", "0 .5 .5 0 .2", "0 .5 .5 -.1 .2", "0 1.5 .5 .2 .2", "0 x .5 .2 .2"]
    lines += ["0 .5 .5", "-1 .5 .5 .2 .2", "0.5 .5 .5 .2 .2", "0 .5 nan .2 .2"]
    write_text(tmp_path / "train" / "labels" / "a.txt", "\n".join(lines))
    write_text(tmp_path / "train" / "images" / "broken.jpg", "no image")
    data = read_dataset(tmp_path, "train")
    assert len(data) == 2
    assert len(data.target(0).boxes) == 1
    assert [(fault.kind, fault.box) for fault in data.left_out.faults] == [
        ("unreadable-image", None),
        ("label-out-of-range", 1),
        ("zero-area", 2),
        ("inverted-box", 3),
        ("outside-box", 4),
        ("bad-number", 5),
        ("bad-number", 6),
        ("label-out-of-range", 7),
        ("label-out-of-range", 8),
        ("bad-number", 9),
    ]


def test_images_without_label_file_are_negatives(tmp_path: Path) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, config=CONFIG + "train: train/images\n")
    write_picture(tmp_path / "train" / "images" / "empty.jpg", 9)
    data = read_dataset(tmp_path, "train")
    assert len(data) == 3
    assert len(data.target(2).boxes) == 0


def test_a_yaml_without_any_label_file_does_not_hide_coco(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": SPLITS["train"]}, CLASSES)
    write_text(tmp_path / "data.yaml", CONFIG + "train: images/train\n")
    assert read_dataset(tmp_path, "train").layout == "coco"


def test_polygons_become_their_bounds() -> None:
    assert parse_line("4 .1 .2 .5 .2 .3 .8").label == 4
    np.testing.assert_allclose(parse_line("4 .1 .2 .5 .2 .3 .8").center, (0.3, 0.5))
    np.testing.assert_allclose(parse_line("4 .1 .2 .5 .2 .3 .8").size, (0.4, 0.6))


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.png", "train/labels/a.b.txt"),
        ("images/x/images/a.jpg", "images/x/labels/a.txt"),
        ("train/a.jpg", "train/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_label_file_of_an_image(image: str, labels: str) -> None:
    assert label_path(image) == labels


def test_names_that_are_no_list_are_refused_and_none_come_from_elsewhere(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.jpg", 1)
    write_text(tmp_path / "labels" / "a.txt", "0 .5 .5 .2 .2\n")
    config = write_text(tmp_path / "data.yaml", "train: images\nnc: 2\nnames: dog, cat\n")
    with pytest.raises(DataError, match=r"Expected a list of names as \[dog, cat\] but got 'dog, cat'"):
        read_dataset(tmp_path)
    config.write_text("train: images\nnc: 3\n")
    assert read_dataset(tmp_path).classes == ("class_0", "class_1", "class_2")
    assert "no-class-names" in {finding.kind for finding in check_dataset(tmp_path).findings}
    write_text(tmp_path / "classes.txt", "dog\ncat\nrat\n")
    assert read_dataset(tmp_path).classes == ("dog", "cat", "rat")


def test_two_classes_of_one_name_are_one(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.jpg", 1)
    write_text(tmp_path / "labels" / "a.txt", "".join(f"{n} .5 .5 .2 .{n + 2}\n" for n in (0, 1, 2, 4, 3)))
    write_text(tmp_path / "data.yaml", "train: images\nnames: {0: dog, 1: cat, 2: 'dog ', 4: rat}\n")
    data = read_dataset(tmp_path)
    assert data.classes == ("dog", "cat", "rat")
    assert data.labels.tolist() == [0, 1, 0, 2]
    assert [fault.kind for fault in data.left_out.faults] == ["label-out-of-range"]
    twice = [(f.file, f.message) for f in check_dataset(tmp_path).findings if f.kind == "listed-twice"]
    assert twice == [("data.yaml", "class 'dog' is listed as 0 and 2: they are one class")]


def test_a_broken_yaml_is_one_line(tmp_path: Path) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, config="names: [a, b\ntrain: {")
    with pytest.raises(DataError, match=r"data\.yaml: YAML that can't be parsed") as error:
        read_dataset(tmp_path)
    assert "\n" not in str(error.value)


def test_pictures_of_sub_folders_are_read_with_their_labels(tmp_path: Path) -> None:
    images = {"a.jpg": SPLITS["train"]["a.jpg"], "day0/a.jpg": [("zebra", 5, 6, 70, 55)], "day1/x/a.jpg": []}
    for above in (True, False):
        root = tmp_path / str(above)
        write_nested(root, images, "train", above)
        for config in (None, CONFIG + f"train: {'train' if above else 'images/train'}\n"):
            if config:
                write_text(root / "data.yaml", config)
            data = read_dataset(root, "train")
            assert [int(n) for n in np.diff(data.offsets)] == [2, 1, 0]
            assert available_splits(root) == ("train",)


def write_nested(root: Path, images: dict[str, list[Box]], split: str, above: bool) -> None:
    for seed, (name, boxes) in enumerate(images.items()):
        places = (f"{split}/images", f"{split}/labels") if above else (f"images/{split}", f"labels/{split}")
        write_picture(root / places[0] / name, seed)
        write_text(root / places[1] / Path(name).with_suffix(".txt"), yolo_text(boxes, CLASSES))


def test_sub_folders_that_are_no_splits_make_none(tmp_path: Path) -> None:
    for above in (True, False):
        for day in ("day0", "day1"):
            write_nested(tmp_path / str(above), {"a.jpg": [("ant", 1, 2, 31, 42)]}, day, above)
        assert available_splits(tmp_path / str(above)) == ("train", "val", "test")
        assert len(read_dataset(tmp_path / str(above)).labels) == 2


def test_pictures_beside_the_splits_are_named(tmp_path: Path) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, above=False)
    write_picture(tmp_path / "images" / "z.jpg", 9)
    write_text(tmp_path / "labels" / "z.txt", "")
    found = {(finding.kind, finding.file) for finding in check_dataset(tmp_path).findings}
    assert {("orphan-image", "images/z.jpg"), ("orphan-label", "labels/z.txt")} <= found


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.jpg", "images/a.txt"),
        ("Images/a.jpg", "Labels/a.txt"),
        ("Images/a.jpg", "labels/a.txt"),
        ("images/a.jpg", "labels/a.TXT"),
        ("images/a.jpg", "labels/A.txt"),
        ("images/a.png", "labels/a.png.txt"),
        ("images/a.PNG", "labels/a.PNG.TXT"),
        ("images/day/a.jpg", "labels/day/a.txt"),
        ("images/a.b.jpg", "labels/a.b.txt"),
        ("data/images/a.jpg", "data/labels/a.txt"),
        ("JPEGImages/a.jpg", "labels/a.txt"),
        ("some/a.jpg", "some/a.txt"),
    ],
)
def test_places_and_spellings_of_labels(tmp_path: Path, image: str, label: str) -> None:
    write_picture(tmp_path / image, 1)
    write_text(tmp_path / label, "1 .5 .5 .2 .2\n")
    write_text(tmp_path / "data.yaml", f"{CONFIG}train: {image.partition('/')[0]}\n")
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (1, 1)
    assert {finding.kind for finding in report.findings} == {"absent-class"}


@pytest.mark.parametrize("name", ["Classes.txt", "labels/CLASSES.TXT", "Obj.Names"])
def test_class_files_in_any_case(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / "Images" / "a.JPG", 1)
    write_text(tmp_path / "labels" / "a.TXT", "1 .5 .5 .2 .2\n")
    write_text(tmp_path / name, "dog\ncat\n")
    assert read_dataset(tmp_path).classes == ("dog", "cat")
    assert {finding.kind for finding in check_dataset(tmp_path).findings} == {"absent-class"}


@pytest.mark.parametrize(("folder", "read"), [("train", True), ("pets", False)])
def test_a_folder_with_a_configuration_of_its_own_is_a_data_set(tmp_path: Path, folder: str, read: bool) -> None:
    """Read from above, it would lose the names of its classes; splits with a copy each are none."""
    write_picture(tmp_path / folder / "images" / "a.jpg", 1)
    write_text(tmp_path / folder / "labels" / "a.txt", "0 .5 .5 .2 .2\n")
    write_text(tmp_path / folder / "data.yaml", "train: images\nnames: [dog]\n")
    assert read_dataset(tmp_path / folder).classes == ("dog",)
    if read:
        assert read_dataset(tmp_path).classes == ("class_0",)
        assert "unused-file" in {finding.kind for finding in check_dataset(tmp_path).findings}
    else:
        with pytest.raises(DataError, match="there is a YOLO data set in pets: give that folder"):
            read_dataset(tmp_path)


def test_labels_from_two_sources(tmp_path: Path) -> None:
    """Those of labels/ count; what else is an image's is named, with what is told in its place."""
    write_yolo(tmp_path, SPLITS, CLASSES, above=False, config=CONFIG + "train: images/train\n")
    write_text(tmp_path / "images" / "train" / "a.txt", "0 .1 .1 .1 .1\n")
    write_text(tmp_path / "labels" / "train" / "b.jpg.txt", "0 .1 .1 .1 .1\n")
    write_picture(tmp_path / "images" / "train" / "a.png", 7)
    report = check_dataset(tmp_path)
    twice = [(f.file, f.message) for f in report.findings if f.kind == "listed-twice"]
    assert twice == [
        ("images/train/a.txt", "images/train/a.jpg has its boxes in labels/train/a.txt already"),
        ("images/train/a.txt", "images/train/a.png has its boxes in labels/train/a.txt already"),
        ("labels/train/a.txt", "is the label file of images/train/a.jpg and of images/train/a.png"),
        ("labels/train/b.jpg.txt", "images/train/b.jpg has its boxes in labels/train/b.txt already"),
    ]
    assert report.boxes == 5


def test_lists_beside_the_folders_are_the_splits(tmp_path: Path) -> None:
    images = {f"{name}.jpg": [("ant", 1, 2, 31, 42)] for name in ("a", "b", "my photo 1", "c")}
    write_nested(tmp_path, images, ".", above=False)  # type: ignore[arg-type]
    write_text(tmp_path / "train.txt", "images/a.jpg 1\n./images/my photo 1.jpg\n")
    write_text(tmp_path / "val.txt", "images/b.jpg labels/b.txt\n/home/me/set/images/c.jpg\nimages/none.jpg\n")
    assert available_splits(tmp_path) == ("train", "val")
    assert len(read_dataset(tmp_path, "train")) == len(read_dataset(tmp_path, "val")) == 2
    report = check_dataset(tmp_path)
    assert [(f.kind, f.file) for f in report.findings if f.severity == "error"] == [("missing-image", "val.txt")]


def test_train_that_is_val_is_said_once(tmp_path: Path) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, config=CONFIG + "train: train\nval: train\n")
    errors = [finding for finding in check_dataset(tmp_path).findings if finding.severity == "error"]
    assert [(f.kind, f.file) for f in errors] == [("image-in-two-splits", "data.yaml")]
    assert "train and val are the same 2 images: all of them are trained on" in errors[0].message


@pytest.mark.parametrize(
    ("line", "box", "kind"),
    [
        ("0 .1 .2 .5 .2 .3 .8", [8, 12, 40, 48], "box-from-polygon"),
        ("0 .3 .1 .5 .5 .3 .9 .1 .5", [8, 6, 40, 54], "angle-lost"),
        ("0,.3,.5,.4,.8", [8, 6, 40, 54], "odd-columns"),
        ("0 0,3 0,5 0,4 0,8", [8, 6, 40, 54], "odd-columns"),
        ("0; .3; .5; .4; .8", [8, 6, 40, 54], "odd-columns"),
        ("0 .3 .5 .4 .8 .97", [8, 6, 40, 54], "odd-columns"),
        ("0 .3 .5 .4 .8 .1 .1 2", [8, 6, 40, 54], "odd-columns"),  # a keypoint
    ],
)
def test_odd_lines_are_read_and_said_once(tmp_path: Path, line: str, box: list[float], kind: str) -> None:
    write_yolo(tmp_path, SPLITS, CLASSES, config=CONFIG + "train: train\n")
    for name in "ab":
        write_text(tmp_path / "train" / "labels" / f"{name}.txt", f"{line}\n{line}\n")
    data = read_dataset(tmp_path, "train")
    np.testing.assert_allclose(data.boxes, [box] * 4, atol=1e-4)
    found = [(f.kind, f.message[:8]) for f in check_dataset(tmp_path).findings if f.kind != "duplicate-box"]
    assert [entry for entry in found if "class" not in entry[0] and "orphan" not in entry[0]] == [(kind, "4 lines ")]
