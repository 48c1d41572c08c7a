"""One line where most boxes are written in another unit, or another form, than the layout has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.check import CheckReport, check_dataset
from dataset_builders import HEIGHT, WIDTH, Box, coco_content, voc_xml, write_picture, write_text, write_yolo
from layout_builders import TENSORFLOW, WRITERS

BOXES: list[Box] = [("ant", 40, 30, 70, 50), ("ant", 50, 20, 78, 58)]
NAMES = ("a", "b", "c")
KINDS = {"wrong-unit", "wrong-form", "class-ids-from-one"}


def hints(root: Path) -> list[tuple[str, str]]:
    report: CheckReport = check_dataset(root)
    found = [(f.kind, f.message) for f in report.findings if f.kind in KINDS]
    assert report.exit_code == 1 or not found
    return found


def voc(root: Path, change: Callable[[Box], Box]) -> Path:
    for seed, name in enumerate(NAMES):
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed)
        write_text(root / "Annotations" / f"{name}.xml", voc_xml(f"{name}.jpg", [change(box) for box in BOXES]))
    return root


def coco(root: Path, change: Callable[[Box], list[float]]) -> Path:
    content = coco_content({f"{name}.jpg": BOXES for name in NAMES}, ["ant"])
    for place, entry in enumerate(content["annotations"]):
        entry["bbox"] = change(BOXES[place % 2])
    for seed, name in enumerate(NAMES):
        write_picture(root / "train" / f"{name}.jpg", seed)
    write_text(root / "train.json", json.dumps(content))
    return root


def yolo(root: Path, change: Callable[[Box], list[float]], number: int = 0) -> Path:
    write_yolo(root, {"train": {f"{name}.jpg": [] for name in NAMES}}, ["ant"], config="names: [ant]\ntrain: train\n")
    for name in NAMES:
        lines = [" ".join(map(str, [number, *change(box)])) for box in BOXES]
        write_text(root / "train" / "labels" / f"{name}.txt", "\n".join(lines))
    return root


def fractions(box: Box) -> Box:
    name, x1, y1, x2, y2 = box
    return name, x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT


def center(box: Box) -> list[float]:
    _, x1, y1, x2, y2 = box
    return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]


def size(box: Box) -> list[float]:
    _, x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def test_sound_boxes_give_no_hint(tmp_path: Path) -> None:
    assert hints(voc(tmp_path / "voc", lambda box: box)) == []
    assert hints(coco(tmp_path / "coco", size)) == []
    assert hints(yolo(tmp_path / "yolo", lambda box: center(fractions(box)))) == []
    for layout, write in WRITERS.items():
        assert hints(write(tmp_path / layout, {"train": {f"{name}.jpg": BOXES for name in NAMES}}, ["ant"])) == []


def test_pixels_where_fractions_are_due(tmp_path: Path) -> None:
    expected = [("wrong-unit", "numbers above 1 in 6 of 6 boxes: pixels? YOLO has fractions of the image")]
    assert hints(yolo(tmp_path / "yolo", center)) == expected
    expected[0] = (expected[0][0], expected[0][1].replace("YOLO", "Open Images"))
    root = WRITERS["openimages"](tmp_path / "oi", {"train": {f"{n}.jpg": BOXES for n in NAMES}}, ["ant"])
    table = root / "train-annotations-bbox.csv"
    header, *rows = table.read_text().splitlines()
    for place, row in enumerate(rows):
        cells = row.split(",")
        cells[4:8] = [str(float(cell) * HEIGHT) for cell in cells[4:8]]
        rows[place] = ",".join(cells)
    table.write_text("\n".join([header, *rows]))
    assert hints(root) == expected


def test_fractions_where_pixels_are_due(tmp_path: Path) -> None:
    text = "no number above 1 in 6 of 6 boxes: fractions of the image? {} has pixels"
    assert hints(voc(tmp_path / "voc", fractions)) == [("wrong-unit", text.format("VOC"))]
    assert hints(coco(tmp_path / "coco", lambda box: size(fractions(box)))) == [("wrong-unit", text.format("COCO"))]
    table = TENSORFLOW + "".join(f"{name}.jpg,80,60,ant,0.5,0.5,0.9,0.8\n" for name in NAMES)
    for seed, name in enumerate(NAMES):
        write_picture(tmp_path / "tf" / f"{name}.jpg", seed)
    write_text(tmp_path / "tf" / "train.csv", table)
    assert hints(tmp_path / "tf") == [("wrong-unit", text.format("TensorFlow CSV").replace("6", "3"))]


def test_corners_where_width_and_height_are_due(tmp_path: Path) -> None:
    assert hints(coco(tmp_path, lambda box: list(box[1:]))) == [
        (
            "wrong-form",
            "read as left, top, width, height, which COCO has, 6 of 6 boxes leave their image or have no area; "
            "read as left, top, right, bottom, 6 of them fit",
        )
    ]


def test_width_and_height_where_corners_are_due(tmp_path: Path) -> None:
    ((kind, message),) = hints(voc(tmp_path, lambda box: (box[0], *size(box))))
    assert kind == "wrong-form"
    assert message.endswith("read as left, top, width, height, 6 of them fit")


def test_corners_where_the_center_is_due(tmp_path: Path) -> None:
    ((kind, message),) = hints(yolo(tmp_path, lambda box: [0.6, 0.5, 0.9, 0.95]))
    assert kind == "wrong-form"
    assert message.endswith("read as left, top, right, bottom, 6 of them fit")


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_a_few_boxes_that_leave_their_image_are_no_hint(tmp_path: Path, bad: int) -> None:
    root = coco(tmp_path, size)
    content = json.loads((root / "train.json").read_text())
    for entry in content["annotations"][:bad]:
        entry["bbox"] = [40, 30, 70, 50]
    (root / "train.json").write_text(json.dumps(content))
    assert hints(root) == []


def test_class_numbers_from_one(tmp_path: Path) -> None:
    expected = ("class-ids-from-one", "class numbers run from 1 to 1: YOLO counts from 0, and 'ant' has no box")
    assert hints(yolo(tmp_path, lambda box: center(fractions(box)), number=1)) == [expected]
