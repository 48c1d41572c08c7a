"""Detections in the hands of other libraries; for FiftyOne, which is large, stands in what has its three names."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from boxwright import bridges
from boxwright.errors import BoxwrightError
from boxwright.types import Detections

CLASSES = ("cat", "café 車")
TORCH = Detections(torch.tensor([[1, 2, 31.7, 42.1], [0, 0, 0.1, 0.3]]), torch.tensor([0.9, 0.3]), torch.tensor([1, 0]))
NUMPY = SimpleNamespace(**{name: values.numpy() for name, values in TORCH._asdict().items()})
NONE = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
EITHER = pytest.mark.parametrize("found", [TORCH, NUMPY], ids=["torch", "numpy"])
CALLS = {
    "supervision": lambda found, classes: bridges.to_supervision(found, classes),
    "pandas": lambda found, classes: bridges.to_pandas(found, classes),
    "fiftyone": lambda found, classes: bridges.to_fiftyone(found, "a.jpg", (50, 100), classes),
}


@EITHER
def test_coco_entries_have_every_digit(found: bridges.Found) -> None:
    entries = json.loads(json.dumps(bridges.to_coco(found, 7, CLASSES)))
    assert [(e["image_id"], e["category_id"], e["category"]) for e in entries] == [(7, 2, CLASSES[1]), (7, 1, "cat")]
    boxes = np.array([entry["bbox"] for entry in entries])
    boxes[:, 2:] += boxes[:, :2]
    assert_array_equal(boxes.astype(np.float32), TORCH.boxes.numpy())
    assert_array_equal(np.float32([entry["score"] for entry in entries]), TORCH.scores.numpy())


def test_coco_ids_are_the_data_sets_own() -> None:
    entries = TORCH.to_coco("a", category_ids=(18, 44))
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [("a", 44), ("a", 18)]
    assert "category" not in entries[0]


@EITHER
def test_a_pandas_row_is_a_detection(found: bridges.Found) -> None:
    pytest.importorskip("pandas")
    table = bridges.to_pandas(found, CLASSES)
    assert list(table.columns) == ["x1", "y1", "x2", "y2", "score", "label", "class"]
    assert_array_equal(table[["x1", "y1", "x2", "y2"]].to_numpy(), TORCH.boxes.numpy())
    assert table["class"].tolist() == [CLASSES[1], "cat"]
    table.loc[0, "score"] = 0
    assert TORCH.scores[0] > 0.8  # a change of the table is none of the detections
    assert list(TORCH.to_pandas().columns)[-1] == "label"


@EITHER
def test_supervision_has_what_its_annotators_read(found: bridges.Found) -> None:
    supervision: Any = pytest.importorskip("supervision")
    made = bridges.to_supervision(found, CLASSES)
    assert_array_equal(made.xyxy, TORCH.boxes.numpy())
    assert_array_equal(made.confidence, TORCH.scores.numpy())
    assert made.class_id.tolist() == [1, 0]
    assert made["class_name"].tolist() == [CLASSES[1], "cat"]
    assert len(made[made.confidence > 0.5]) == 1
    drawn = supervision.BoxAnnotator().annotate(np.zeros((50, 100, 3), np.uint8), made)
    assert drawn.any()
    assert TORCH.to_supervision().data == {}


class Sample(dict[str, Any]):
    def __init__(self, filepath: str) -> None:
        super().__init__(filepath=filepath)


def stand_in() -> SimpleNamespace:
    return SimpleNamespace(Sample=Sample, Detection=SimpleNamespace, Detections=SimpleNamespace)


@EITHER
def test_fiftyone_boxes_are_shares_of_the_image(found: bridges.Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in())
    sample = bridges.to_fiftyone(found, "a.jpg", (50, 100), CLASSES, field="ours")
    first, second = sample["ours"].detections
    assert sample["filepath"] == "a.jpg"
    assert (first.label, second.label) == (CLASSES[1], "cat")
    assert first.bounding_box == pytest.approx([0.01, 0.04, 0.307, 0.802])
    assert first.confidence == pytest.approx(0.9)
    with pytest.raises(ValueError, match=r"size \(H, W\) of at least 1 but got \(0, 5\)"):
        TORCH.to_fiftyone("a.jpg", (0, 5), CLASSES)


@pytest.mark.parametrize("package", CALLS)
def test_nothing_found_and_names_that_lack(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if package == "fiftyone":
        monkeypatch.setitem(sys.modules, "fiftyone", stand_in())
    pytest.importorskip(package)
    made = CALLS[package](NONE, CLASSES)
    assert len(made["predictions"].detections if package == "fiftyone" else made) == 0
    with pytest.raises(ValueError, match=r"Expected labels in 0\.\.0 but got 0\.\.1"):
        CALLS[package](TORCH, CLASSES[:1])


def test_coco_of_nothing_and_labels_without_an_id() -> None:
    assert NONE.to_coco(1, CLASSES) == []
    with pytest.raises(ValueError, match=r"Expected labels in 0\.\.0 but got 0\.\.1"):
        TORCH.to_coco(1, category_ids=(3,))


@pytest.mark.parametrize("package", CALLS)
def test_a_package_that_is_not_installed_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BoxwrightError, match=rf"^{package} isn't installed: pip install {package}$"):
        CALLS[package](TORCH, CLASSES)
