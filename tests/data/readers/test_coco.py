from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycocotools_mask

from boxwright.check import check_dataset
from boxwright.data import CROWD, DIFFICULT, NORMAL, DetectionDataset, available_splits, read_dataset
from boxwright.data.readers.coco_masks import around_mask
from boxwright.errors import DataError
from dataset_builders import Box, coco_content, write_coco, write_picture, write_text, write_voc

CLASSES = ("zebra", "ant")
TRAIN: dict[str, list[Box]] = {
    "x.jpg": [("ant", 10, 12, 40, 50), ("zebra", 0.5, 1.25, 20, 30)],
    "a.jpg": [("zebra", 5, 6, 70, 55)],
    "n.jpg": [],
}
VAL: dict[str, list[Box]] = {"v.jpg": [("ant", 1, 2, 31, 42)]}


def edit(path: Path, **changes: Any) -> None:
    """Changes keys of the first annotation of a JSON file."""
    content = json.loads(path.read_text())
    content["annotations"][0].update(changes)
    path.write_text(json.dumps(content))


def test_ids_order_and_numbers_are_the_datas_own(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train2017": TRAIN, "val2017": VAL}, CLASSES)
    assert available_splits(tmp_path) == ("train", "val")
    data = read_dataset(tmp_path, "train")
    content = json.loads((tmp_path / "annotations" / "instances_train2017.json").read_text())
    assert data.layout == "coco"
    assert data.classes == CLASSES
    assert data.category_ids.tolist() == [10, 20]
    assert [data.name(i) for i in range(3)] == ["x.jpg", "a.jpg", "n.jpg"]
    assert data.path(0) == tmp_path.resolve() / "images" / "train2017" / "x.jpg"
    assert data.image_ids.tolist() == [image["id"] for image in content["images"]]
    assert data.annotation_ids.tolist() == [entry["id"] for entry in content["annotations"]]
    assert data.xywh.tolist() == [entry["bbox"] for entry in content["annotations"]]
    assert data.offsets.tolist() == [0, 2, 3, 3]
    assert data.labels.tolist() == [1, 0, 0]
    assert data.boxes[1].tolist() == [0.5, 1.25, 20, 30]
    assert read_dataset(tmp_path, "train2017").split == "train"


@pytest.mark.parametrize(
    ("annotation", "images"),
    [
        ("annotations/train.json", "images"),
        ("annotations/train.json", "train"),
        ("train.json", "train"),
        ("train.json", "images/train"),
        ("train/_annotations.coco.json", "train"),
        ("annotations/instances_train.json", "."),
    ],
)
def test_places_where_the_files_may_be(tmp_path: Path, annotation: str, images: str) -> None:
    for seed, name in enumerate(TRAIN):
        write_picture(tmp_path / images / name, seed)
    write_text(tmp_path / annotation, json.dumps(coco_content(TRAIN, CLASSES)))
    write_text(tmp_path / "settings.json", '{"images": 3}')  # other JSON is left alone
    write_text(tmp_path / "annotations" / "results.json", "[]")
    data = read_dataset(tmp_path, "train")
    assert len(data) == 3
    assert data.has_images
    assert data.path(0).is_file()


def test_one_file_that_is_no_split_is_split_by_hash(tmp_path: Path) -> None:
    images = {f"{i}.png": [("ant", 1, 1, 9, 9)] for i in range(12)}
    for seed, name in enumerate(images):
        write_picture(tmp_path / name, seed, 16, 16)
    write_text(tmp_path / "_annotations.coco.json", json.dumps(coco_content(images, CLASSES)))
    write_text(tmp_path / "annotations.json", json.dumps(coco_content(images, CLASSES)))
    (tmp_path / "_annotations.coco.json").unlink()
    assert available_splits(tmp_path) == ("train", "val", "test")
    parts = [read_dataset(tmp_path, split) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(read_dataset(tmp_path)) == 12
    assert min(map(len, parts)) >= 1


def test_crowd_difficult_and_areas(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": TRAIN}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"
    edit(path, iscrowd=1, area=7.5, segmentation={"counts": [1, 2], "size": [60, 80]})
    data = read_dataset(tmp_path, "train")
    assert data.code.tolist() == [CROWD, NORMAL, NORMAL]
    assert data.areas[0] == 7.5
    edit(path, iscrowd=0, ignore=1)
    assert read_dataset(tmp_path, "train").code[0] == DIFFICULT
    content = json.loads(path.read_text())
    del content["annotations"][0]["area"]
    path.write_text(json.dumps(content))
    assert read_dataset(tmp_path, "train").areas[0] == 30 * 38


def test_an_unused_super_category_is_no_class(tmp_path: Path) -> None:
    """Roboflow writes category 0 as the parent of the others, and no box has it."""
    write_coco(tmp_path, {"train": TRAIN, "val": VAL}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"
    for name in ("train", "val"):
        file = path.with_name(f"instances_{name}.json")
        content = json.loads(file.read_text())
        for category in content["categories"]:
            category["supercategory"] = "animals"
        content["categories"].insert(0, {"id": 0, "name": "animals", "supercategory": "none"})
        file.write_text(json.dumps(content))
    assert read_dataset(tmp_path, "train").classes == CLASSES
    edit(path, category_id=0)
    for split in ("train", "val"):  # used in one split, it is a class of all
        assert read_dataset(tmp_path, split).classes == ("animals", *CLASSES)


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": TRAIN, "val": VAL}, CLASSES)
    path = tmp_path / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 7, "name": "ant"}]
    content["annotations"][0]["category_id"] = 7
    path.write_text(json.dumps(content))
    data = read_dataset(tmp_path, "val")
    assert data.classes == CLASSES
    assert data.labels.tolist() == [1]
    assert data.category_ids.tolist() == [10, 7]  # its own id where it has one
    assert read_dataset(tmp_path, "train").classes == CLASSES


def test_all_splits_together_have_each_image_once_and_distinct_ids(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": TRAIN, "val": VAL}, CLASSES)
    for name, images in (("train", TRAIN), ("val", VAL)):  # both count from 1
        path = tmp_path / "annotations" / f"instances_{name}.json"
        path.write_text(json.dumps(coco_content(images, CLASSES)))
    content = coco_content({f"images/train/{name}": boxes for name, boxes in TRAIN.items()}, CLASSES, start=50)
    write_text(tmp_path / "annotations" / "instances_all.json", json.dumps(content))
    data = read_dataset(tmp_path)
    assert sorted(data.path(i).name for i in range(len(data))) == ["a.jpg", "n.jpg", "v.jpg", "x.jpg"]
    assert len(set(data.image_ids.tolist())) == 4
    assert len(data.boxes) == 4
    assert len(set(data.annotation_ids.tolist())) == 4


def test_broken_entries_cost_only_themselves(tmp_path: Path) -> None:
    boxes: list[Box] = [("ant", 1 + i, 1, 20 + i, 20) for i in range(9)]
    write_coco(tmp_path, {"train": {"x.jpg": boxes, "gone.jpg": [boxes[0]], "y.jpg": [boxes[0]]}}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"
    (tmp_path / "images" / "train" / "gone.jpg").unlink()
    content = json.loads(path.read_text())
    entries = content["annotations"]
    entries[0]["bbox"] = [1, 2, 0, 5]
    entries[1]["bbox"] = [1, 2, -3, 5]
    entries[2]["bbox"] = [1, 2, None, 5]
    entries[3]["bbox"] = [1, 2, 5]
    entries[4]["bbox"] = [1, float("nan"), 5, 5]
    entries[5]["bbox"] = [100, 2, 5, 5]
    entries[6]["category_id"] = 999
    entries[7]["image_id"] = "nobody"
    entries.append("nonsense")
    content["images"] += [{"id": None}, {"id": 9, "file_name": "../outside.jpg"}]
    entries.append({"id": 5, "image_id": 9, "category_id": 10, "bbox": [1, 1, 2, 2]})
    path.write_text(json.dumps(content))
    data = read_dataset(tmp_path, "train")
    assert [data.name(i) for i in range(len(data))] == ["x.jpg", "y.jpg"]
    assert data.boxes.tolist() == [[9, 1, 28, 20], [1, 1, 20, 20]]
    found = sorted((fault.kind, -1 if fault.box is None else fault.box) for fault in data.left_out.faults)
    assert found == [
        ("bad-number", -1),
        ("bad-number", 2),
        ("bad-number", 3),
        ("bad-number", 4),
        ("inverted-box", 1),
        ("label-out-of-range", 6),
        ("missing-image", -1),
        ("orphan-label", 7),
        ("orphan-label", 11),
        ("outside-box", 5),
        ("path-outside", -1),
        ("zero-area", 0),
    ]


def test_strings_and_floats_for_numbers_are_understood(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": TRAIN}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"
    plain = read_dataset(tmp_path, "train")
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] = float(image["id"])
    for entry in content["annotations"]:
        entry["image_id"] = str(entry["image_id"])
        entry["bbox"] = [str(value) for value in entry["bbox"]]
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    loose = read_dataset(tmp_path, "train")
    np.testing.assert_array_equal(loose.boxes, plain.boxes)
    np.testing.assert_array_equal(loose.image_ids, plain.image_ids)


def test_a_split_that_cannot_be_parsed_is_one_line(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": TRAIN, "val": VAL}, CLASSES)
    write_text(tmp_path / "annotations" / "instances_val.json", '{"images": [')
    assert len(read_dataset(tmp_path, "train")) == 3
    with pytest.raises(DataError, match=r"instances_val\.json: JSON that can't be read") as error:
        read_dataset(tmp_path, "val")
    assert "\n" not in str(error.value)


def test_annotations_without_any_image_file_can_still_be_read(tmp_path: Path) -> None:
    """Enough to evaluate a results file."""
    write_text(tmp_path / "annotations" / "instances_test.json", json.dumps(coco_content(TRAIN, CLASSES)))
    data = read_dataset(tmp_path, "test")
    assert (len(data), data.has_images, len(data.boxes)) == (3, False, 3)


def test_ground_truth_survives_the_way_out_and_in(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", {"a": [("dog", 1, 2, 30, 40)], "b": [("cat", 3, 4, 33, 44), ("dog", 5, 5, 9, 9)]})
    data = read_dataset(tmp_path / "voc")
    content = data.coco_json()
    assert [image["id"] for image in content["images"]] == [1, 2]
    assert content["images"][0]["file_name"] == "JPEGImages/a.jpg"
    assert content["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "file_name": "JPEGImages/a.jpg",
        "category_id": 2,
        "category": "dog",
        "bbox": [1.0, 2.0, 29.0, 38.0],
        "area": 29.0 * 38.0,
        "iscrowd": 0,
        "ignore": 0,
        "difficult": 0,
    }
    write_text(tmp_path / "coco" / "truth.json", json.dumps(content))
    again = read_dataset(tmp_path / "coco")
    assert again.layout == "coco"
    for key in ("boxes", "labels", "code", "xywh", "areas", "offsets", "image_ids", "category_ids", "sizes"):
        np.testing.assert_array_equal(getattr(again, key), getattr(data, key))


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


FOUR: dict[str, list[Box]] = {f"{name}.jpg": [("ant", 1, 2, 10 + i, 20)] for i, name in enumerate("abcd")}


def widths(data: DetectionDataset) -> dict[str, list[float]]:
    return {data.name(i): data.target(i).boxes[:, 2].tolist() for i in range(len(data))}


@pytest.mark.parametrize("odd", [False, True], ids=["clean", "one odd record"])
@pytest.mark.parametrize(
    "ids",
    [
        [2**53, 2**53 + 1, 2**53 + 2, 2**53 + 3],
        [2**63 - 1, 2**63 - 2, -(2**63), 0],
        [2**64, 2**64 + 1, 2**64 + 2, 5],
        ["1000", "1e3", "01000", " 1000x"],
        ["0000_02999_d_0", "0000_02999_d_1", "x", "y"],
        [1.0, 2.0, 3, "4"],
        [-1, 0, 1, 2],
        ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        ["b.jpg", "a.jpg", "d.jpg", "c.jpg"],
        ["\u0661", "1", "\u00b2", "2"],
    ],
    ids=str,
)
def test_every_image_has_its_own_boxes_whatever_its_id(tmp_path: Path, ids: list[Any], odd: bool) -> None:
    write_coco(tmp_path, {"train": FOUR}, CLASSES)

    def renumber(content: dict[str, Any]) -> None:
        for image, box, number in zip(content["images"], content["annotations"], ids, strict=True):
            image["id"] = box["image_id"] = number
        if odd:
            content["annotations"].append({"bbox": [], "image_id": ids[0], "category_id": 10})

    change(tmp_path / "annotations" / "instances_train.json", renumber)
    data = read_dataset(tmp_path, "train")
    assert widths(data) == {name: [boxes[0][3]] for name, boxes in FOUR.items()}
    assert len(set(data.image_ids.tolist())) == 4
    if all(isinstance(number, int) and abs(number) < 2**63 for number in ids):
        assert data.image_ids.tolist() == ids


def test_ids_that_say_the_same_are_the_same_and_names_are_ids(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": FOUR}, CLASSES)

    def mix(content: dict[str, Any]) -> None:
        numbers = [image["id"] for image in content["images"]]
        ways = [str(numbers[0]), float(numbers[1]), "c.jpg", f"{numbers[3]:.1f}"]
        for box, way in zip(content["annotations"], ways, strict=True):
            box["image_id"] = way
        content["annotations"][1]["category_id"] = "zebra"
        content["annotations"][2]["category_id"] = "20"

    change(tmp_path / "annotations" / "instances_train.json", mix)
    data = read_dataset(tmp_path, "train")
    assert widths(data) == {"a.jpg": [10], "b.jpg": [11], "c.jpg": [12], "d.jpg": []}
    assert data.labels.tolist() == [1, 0, 1]
    assert [(fault.kind, fault.box) for fault in data.left_out.faults] == [("orphan-label", 3)]


def test_categories_with_names_for_ids(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": FOUR}, CLASSES)

    def rename(content: dict[str, Any]) -> None:
        for category in content["categories"]:
            category["id"] = f"c{category['id']}"
        for box in content["annotations"]:
            box["category_id"] = f"c{box['category_id']}"

    change(tmp_path / "annotations" / "instances_train.json", rename)
    data = read_dataset(tmp_path, "train")
    assert (data.classes, data.category_ids.tolist(), data.labels.tolist()) == (CLASSES, [1, 2], [1] * 4)


def test_an_id_of_several_files_is_an_error_and_no_guess(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": FOUR}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"
    change(path, lambda content: content["images"][1].update(id=content["images"][0]["id"]))
    data = read_dataset(tmp_path, "train")
    assert widths(data).keys() == {"c.jpg", "d.jpg"}
    found = [(f.kind, f.severity) for f in check_dataset(tmp_path).findings]
    assert ("image-id-twice", "error") in found
    change(path, lambda content: content["images"].append(content["images"][2]))  # the same entry again is harmless
    assert widths(read_dataset(tmp_path, "train")) == {"c.jpg": [12], "d.jpg": [13]}


def test_a_file_with_two_ids_has_the_boxes_of_both(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": FOUR}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"
    change(path, lambda content: content["images"][1].update(file_name="a.jpg"))
    assert widths(read_dataset(tmp_path, "train"))["a.jpg"] == [10, 11]
    assert ("listed-twice", None) in [(f.kind, f.box) for f in check_dataset(tmp_path).findings]


def test_two_categories_of_one_name_or_of_one_id(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": FOUR}, CLASSES)
    path = tmp_path / "annotations" / "instances_train.json"

    def same_name(content: dict[str, Any]) -> None:
        content["categories"].append({"id": 50, "name": "ant "})
        content["annotations"][0]["category_id"] = 50

    change(path, same_name)
    data = read_dataset(tmp_path, "train")
    assert (data.classes, data.labels.tolist()) == (CLASSES, [1] * 4)
    messages = {finding.kind: finding.message for finding in check_dataset(tmp_path).findings}
    assert "'ant' is listed as 20 and 50" in messages["listed-twice"]
    change(path, lambda content: content["categories"].append({"id": 50, "name": "bee"}))
    assert [fault.kind for fault in read_dataset(tmp_path, "train").left_out.faults] == [
        "category-id-twice",
        "label-out-of-range",
        "no-usable-box",
    ]


SQUARE = [[10, 20, 30.5, 20, 30.5, 50, 10, 50]]


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        (SQUARE, [10, 20, 30.5, 50]),
        ([[10, 20, 15, 20, 15, 25], [30, 40, 35, 40, 35, 45.5]], [10, 20, 35, 45.5]),
        (SQUARE[0], [10, 20, 30.5, 50]),
        ({"size": [60, 80], "counts": [60 * 10 + 20, 5, 55, 5, 60 * 68 - 25]}, [10, 20, 12, 25]),
        ({"size": [60, 80], "counts": [60 * 3 + 50, 20, 60 * 76 - 10]}, [3, 0, 5, 60]),
        (None, [8, 5, 15, 14]),
    ],
    ids=["polygon", "polygons", "flat", "runs", "run over two columns", "compressed"],
)
@pytest.mark.parametrize("bbox", [None, [], "absent"])
def test_masks_without_a_box_give_the_box_around_them(
    tmp_path: Path, segmentation: Any, box: list[float], bbox: Any
) -> None:
    write_coco(tmp_path, {"train": {"a.jpg": [("ant", 1, 2, 31, 42)]}}, CLASSES)
    if segmentation is None:
        mask = np.pad(np.ones((9, 7), np.uint8), ((5, 46), (8, 65)))
        encoded = pycocotools_mask.encode(np.asfortranarray(mask))
        segmentation = {"size": [60, 80], "counts": encoded["counts"].decode()}

    def to_mask(content: dict[str, Any]) -> None:
        entry = content["annotations"][0]
        entry.update(segmentation=segmentation, bbox=bbox)
        if bbox == "absent":
            del entry["bbox"]

    change(tmp_path / "annotations" / "instances_train.json", to_mask)
    assert read_dataset(tmp_path, "train").boxes.tolist() == [box]
    notes = [f.message for f in check_dataset(tmp_path).findings if f.kind == "box-from-polygon"]
    assert notes == ["1 annotations have no bbox: the boxes around their masks are read"]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 30))
def test_boxes_around_run_lengths_are_pycocotools(seed: int, height: int, width: int) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < 0.1).astype(np.uint8)
    encoded = pycocotools_mask.encode(np.asfortranarray(mask))
    found = around_mask({"size": [height, width], "counts": encoded["counts"].decode()})
    if mask.any():
        assert found == tuple(pycocotools_mask.toBbox(encoded))
    else:
        assert np.isnan(found).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
        [[1, 2]],
        [[1, 2, 3]],
        ["x"],
        "x",
        7,
        {},
        {"size": [0, 0], "counts": [1, 2]},
        {"size": [5, 5], "counts": "\x7f" * 99},
        {"size": [5, 5], "counts": [1, -2]},
        {"size": [5, 5], "counts": [2**70, 1]},
        {"size": ["x"], "counts": []},
        {"size": [5, 5], "counts": [25]},
    ],
)
def test_what_is_no_mask_has_no_box(segmentation: Any) -> None:
    assert np.isnan(around_mask(segmentation)).all()


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("images\\\\1/{}", True),
        ("images\\\\{}", True),
        ("/home/me/result/images/{}", True),
        ("C:\\\\set\\\\{}", True),
        ("../../{}", False),
        ("upload/7/{}", True),
        ("{}", True),
    ],
)
def test_paths_of_other_machines(tmp_path: Path, written: str, found: bool) -> None:
    """By the last part, where only one file has it; never out of the folder."""
    for name in FOUR:
        write_picture(tmp_path / "pictures" / "day0" / name, sum(map(ord, name)))
    text = json.dumps(coco_content(FOUR, CLASSES))
    for name in FOUR:
        text = text.replace(f'"{name}"', f'"{written.format(name)}"')
    write_text(tmp_path / "result.json", text)
    report = check_dataset(tmp_path)
    assert report.boxes == 4 * found
    if found:
        assert {finding.kind for finding in report.findings} == {"absent-class"}
    else:
        assert {f.kind for f in report.findings if f.severity == "error"} == {"path-outside", "nothing-to-train"}


def test_a_picture_of_another_split_is_not_taken_for_its_namesake(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": FOUR, "val": FOUR}, CLASSES)
    for name in FOUR:
        (tmp_path / "images" / "val" / name).unlink()
    report = check_dataset(tmp_path)
    missing = [finding for finding in report.findings if finding.kind == "missing-image"]
    assert [finding.message for finding in missing] == [f"no image {name}" for name in FOUR]


def test_all_splits_together_say_where_an_image_has_other_boxes(tmp_path: Path) -> None:
    for name in FOUR:
        write_picture(tmp_path / "images" / name, sum(map(ord, name)))
    other = {**FOUR, "b.jpg": [("ant", 1, 2, 60, 50)]}
    for split, images in (("train", FOUR), ("trainval", other)):
        write_text(tmp_path / "annotations" / f"{split}.json", json.dumps(coco_content(images, CLASSES)))
    twice = [(f.file, f.message) for f in check_dataset(tmp_path).findings if f.kind == "listed-twice"]
    assert twice == [("annotations/trainval.json", "b.jpg has other boxes in annotations/train.json")]
