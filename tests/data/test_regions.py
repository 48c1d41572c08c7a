"""What becomes of erroneous boxes: regions that are neither objects nor background, or the image is left out."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boxwright.check import check_dataset
from boxwright.data import CROWD, NORMAL, DetectionDataset, read_dataset
from boxwright.data.cache import ImageCache
from boxwright.data.dataset import Regions
from boxwright.data.loading import TrainingSet
from boxwright.data.transforms import Augmentation, InputSize
from boxwright.evaluate import detection_metrics
from dataset_builders import coco_content, voc_object, voc_xml, write_picture, write_text, write_voc, write_yolo

SOUND = ("dog", 10, 12, 40, 50)


def yolo(root: Path, lines: str) -> DetectionDataset:
    config = "names: [dog, cat]\ntrain: train/images\n"
    write_yolo(root, {"train": {"a.jpg": [SOUND], "b.jpg": [SOUND]}}, ("dog", "cat"), config=config)
    write_text(root / "train" / "labels" / "b.txt", lines)
    return read_dataset(root)


def coco(root: Path, *boxes: tuple[object, list[float]]) -> DetectionDataset:
    """a.jpg with a sound box, b.jpg with these: category id and bbox."""
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        write_picture(root / "images" / name, seed)
    content = coco_content({"a.jpg": [SOUND], "b.jpg": []}, ("dog", "cat"))
    for place, (category, bbox) in enumerate(boxes):
        content["annotations"].append({"id": 200 + place, "image_id": 2, "category_id": category, "bbox": bbox})
    write_text(root / "annotations" / "train.json", json.dumps(content))
    return read_dataset(root)


def test_erroneous_boxes_with_an_area_in_the_image_become_regions(tmp_path: Path) -> None:
    data = coco(
        tmp_path,
        (10, [1, 2, 20, 30]),
        (99, [50, 10, 100, 20]),  # no such class: clipped to the image
        (20, [40, 40, -30, 10]),  # a swapped side
        (99, [40, 40, -30, -10]),
        (99, [90, 10, 5, 5]),  # outside
        (10, [90, 10, 5, 5]),
        (99, [5, 5, 0, 9]),
        (99, [5, 5, float("nan"), 9]),
    )
    assert data.offsets.tolist() == [0, 1, 2]
    assert data.regions.offsets.tolist() == [0, 0, 3]
    assert data.regions.boxes.tolist() == [[50, 10, 80, 30], [10, 40, 40, 50], [10, 30, 40, 40]]
    assert data.regions.labels.tolist() == [-1, 1, -1]
    boxes, labels, ignore = data.supervised(1)
    assert boxes[0].tolist() == [1, 2, 21, 32]
    assert (labels.tolist(), ignore.tolist()) == ([0, 0, 1, 0], [False, True, True, True])
    assert len(data.supervised(0)[0]) == 1


def test_an_image_without_a_usable_box_is_no_background(tmp_path: Path) -> None:
    data = coco(tmp_path, (99, [1, 2, 20, 30]), (10, [90, 10, 5, 5]))
    assert [data.name(i) for i in range(len(data))] == ["a.jpg"]
    assert len(data.regions.boxes) == 0
    fault = data.left_out.faults[-1]
    assert fault == ("no-usable-box", "images/b.jpg", None, fault.message)
    assert fault.message == "none of its 2 boxes can be used, so the image is left out"
    assert "1 no-usable-box" in data.left_out.summary()
    found = [(f.kind, f.file) for f in check_dataset(tmp_path).findings if f.box is None]
    assert ("no-usable-box", "images/b.jpg") in found
    assert read_dataset(tmp_path, negatives="drop").left_out.negatives == 0


def test_ids_stay_where_an_image_is_left_out(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("dog", 5, 5, 5, 9)], "b": [SOUND]})
    assert read_dataset(tmp_path).image_ids.tolist() == [2]


@pytest.mark.parametrize("line", ["7 .5 .5 .2 .2", "x .5 .5 .2 .2", "0.5 .5 .5 .2 .2", "0 .5 .5 -.2 .2"])
def test_regions_of_yolo(tmp_path: Path, line: str) -> None:
    data = yolo(tmp_path, f"0 .2 .2 .1 .1\n{line}\n0 .5 .5 .1\n")
    assert len(data.labels) == 2
    np.testing.assert_allclose(data.regions.boxes, [[32, 24, 48, 36]], atol=1e-4)


def test_regions_of_voc(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [SOUND]})
    text = voc_xml("a.jpg", [SOUND, ("dog", 70, 30, 60, 20)], extra=voc_object("", 1, 2, 9, 8))
    write_text(tmp_path / "Annotations" / "a.xml", text)
    data = read_dataset(tmp_path)
    assert data.regions.boxes.tolist() == [[60, 20, 70, 30], [1, 2, 9, 8]]
    assert data.regions.labels.tolist() == [0, -1]


def test_boxes_of_classes_that_are_not_asked_for_are_no_regions(tmp_path: Path) -> None:
    coco(tmp_path, (10, [1, 2, 20, 30]), (20, [40, 40, -30, 10]), (20, [3, 3, 9, 9]), (99, [1, 1, 5, 5]))
    data = read_dataset(tmp_path, classes=["dog"])
    assert data.regions.boxes.tolist() == [[1, 1, 6, 6]]
    assert len(data.labels) == 2


def test_regions_go_with_their_images(tmp_path: Path) -> None:
    data = coco(tmp_path, (10, [1, 2, 20, 30]), (99, [5, 5, 9, 9]))
    assert data.subset([1, 0, 1]).regions.offsets.tolist() == [0, 1, 1, 2]
    assert data.subset([0]).regions.boxes.tolist() == []


def test_training_ignores_regions(tmp_path: Path) -> None:
    data = coco(tmp_path, (10, [1, 2, 20, 30]), (99, [5, 5, 9, 9]))
    sample = TrainingSet(ImageCache(data), range(2), InputSize(80), Augmentation("none", "none"))[1]
    assert sample.ignore.tolist() == [False, True]
    assert sample.boxes.shape == (2, 4)


def test_evaluation_ignores_regions_as_pycocotools_does_crowds(tmp_path: Path) -> None:
    data = coco(tmp_path, (10, [1, 2, 20, 30]), (99, [50, 10, 20, 20]), (20, [40, 40, -30, 10]), (20, [3, 30, 9, 9]))
    boxes = np.array(
        [(51, 11, 69, 29), (1, 2, 21, 32), (11, 41, 39, 49), (3, 30, 12, 39), (60, 40, 70, 50)], np.float64
    )
    labels, scores = np.repeat([0, 1], 5), np.linspace(0.95, 0.5, 10)
    found = {"boxes": np.tile(boxes, (2, 1)), "labels": labels, "scores": scores}
    nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0), "scores": np.zeros(0)}
    table = detection_metrics([nothing, found], data, data.classes)
    results = [
        {"image_id": 2, "category_id": 10 + 10 * label, "bbox": [x, y, right - x, bottom - y], "score": score}
        for (x, y, right, bottom), label, score in zip(found["boxes"].tolist(), labels.tolist(), scores, strict=True)
    ]
    np.testing.assert_allclose([table.AP, table.AP50, table.AP75], reference(data.coco_json(), results), atol=1e-9)
    plain = replace(data, regions=Regions.none(2))
    assert table.AP50 > detection_metrics([nothing, found], plain, data.classes).AP50


def reference(truth: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """AP, AP50 and AP75 of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3].tolist()


def test_regions_are_saved_as_crowds(tmp_path: Path) -> None:
    data = coco(tmp_path / "one", (10, [1, 2, 20, 30]), (99, [50, 10, 20, 20]))
    write_text(tmp_path / "two" / "truth.json", json.dumps(data.coco_json()))
    again = read_dataset(tmp_path / "two")
    assert again.code.tolist() == [NORMAL, NORMAL, CROWD, CROWD]
    assert again.labels.tolist() == [0, 0, 0, 1]
    assert again.boxes[2:].tolist() == [[50, 10, 70, 30]] * 2
