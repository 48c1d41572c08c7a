"""What boxwright writes as data or as detections is read back as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import boxwright as bw
from boxwright import demo_data
from boxwright.data import DetectionDataset
from boxwright.evaluate import detection_metrics, read_results, save_results, save_targets
from boxwright.hardest.corrections import Correction, Corrections, correct
from boxwright.runs import assess, predict
from dataset_builders import Box, coco_content, exif_with, picture, voc_object, voc_xml, write_picture, write_text
from layout_builders import VARIANTS, WRITERS
from tiny_runs import keep_tiny_run

CLASSES = ("zebra", "ant hill", "caf\u00e9 \u8eca")
BOXES: list[Box] = [
    ("ant hill", 10.25, 12.5, 40.125, 50),
    ("zebra", 2, 3, 20.1, 30.7),
    ("caf\u00e9 \u8eca", 0, 0, 80, 60),
]
IMAGES = {"b 1.jpg": BOXES, "\u00fc.jpg": [], "a.jpg": BOXES[1:], "c.x.jpg": BOXES[:1]}
COLUMNS = ("sizes", "image_ids", "offsets", "boxes", "labels", "code", "xywh", "areas", "category_ids")


def voc(root: Path) -> None:
    """Boxes that count from 1, a difficult one, and a picture on its side whose boxes were drawn so."""
    extra = voc_object("zebra", 5, 6, 31, 42, difficult=1)
    for seed, name in enumerate("abc"):
        write_text(root / "Annotations" / f"{name}.xml", voc_xml(f"{name}.jpg", BOXES, database="VOC2012", extra=extra))
        (root / "JPEGImages").mkdir(exist_ok=True)
        turned = exif_with(6 if name == "b" else 1)
        Image.fromarray(picture(seed)).save(root / "JPEGImages" / f"{name}.jpg", exif=turned)


def coco(root: Path) -> None:
    """Ids of 64 bits, crowds, areas of masks, an image without boxes, and one in a folder of its own."""
    content = coco_content({"deep/x.jpg": BOXES, "y.jpg": [], "z.jpg": BOXES}, CLASSES, start=2**62)
    for place, box in enumerate(content["annotations"]):
        box |= {"iscrowd": int(place == 1), "ignore": int(place == 2), "area": 7.5 + place, "id": 2**61 - place}
    for seed, image in enumerate(content["images"]):
        write_picture(root / "images" / image["file_name"], seed)
    write_text(root / "annotations.json", json.dumps(content))


MADE: dict[str, Callable[[Path], object]] = {
    name: lambda root, write=write: write(root, {"": IMAGES}, CLASSES)
    for name, write in {**WRITERS, **VARIANTS}.items()
} | {"voc itself": voc, "coco itself": coco}
EVERY = pytest.mark.parametrize("made", MADE)


def written_beside(dataset: DetectionDataset, root: Path, write: Callable[[Path], object]) -> DetectionDataset:
    """Let the targets be written into a folder with copies of the images, and read what is there then."""
    for row in range(len(dataset)):
        place = root / dataset.name(row)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset.path(row), place)
    write(root / "train.json")
    return bw.read_dataset(root, "train")


def assert_same(again: DetectionDataset, dataset: DetectionDataset) -> None:
    assert again.left_out.faults == ()
    assert (again.classes, [*again.names]) == (dataset.classes, [*dataset.names])
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(again, column), getattr(dataset, column), err_msg=column)
    for row in range(len(dataset)):
        np.testing.assert_array_equal(again.decode(row), dataset.decode(row))


def detections(dataset: DetectionDataset) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    targets = (dataset.target(row) for row in range(len(dataset)))
    return [
        {"boxes": t.boxes + np.float32(0.1), "labels": t.labels, "scores": rng.random(len(t.labels), np.float32)}
        for t in targets
    ]


@EVERY
def test_targets_and_detections(tmp_path: Path, made: str) -> None:
    MADE[made](tmp_path / "data")
    dataset = bw.read_dataset(tmp_path / "data")
    assert len(dataset.boxes) >= 6
    again = written_beside(dataset, tmp_path / "again", lambda path: save_targets(path, dataset))
    assert_same(again, dataset)
    kept = save_results(tmp_path / "found.json", detections(dataset), dataset)
    read = read_results(tmp_path / "found.json", again)
    for name in ("image", "label", "score", "xywh"):
        np.testing.assert_array_equal(getattr(read, name), getattr(kept, name))
    numbers = [detection_metrics(columns, data, CLASSES).numbers for columns, data in ((kept, dataset), (read, again))]
    np.testing.assert_equal(numbers[1], numbers[0])


@EVERY
def test_corrections(tmp_path: Path, made: str) -> None:
    MADE[made](tmp_path / "data")
    dataset = bw.read_dataset(tmp_path / "data")
    row = int(np.flatnonzero(np.diff(dataset.offsets))[-1])
    box = int(dataset.offsets[row])
    moved = Correction(
        accepted=True,
        score=0.5,
        kind="shifted",
        image=dataset.name(row),
        file=dataset.files[row],
        box=int(dataset.numbers[box]),
        class_name=dataset.classes[dataset.labels[box]],
        bbox=tuple(dataset.xywh[box].tolist()),
        suggested_class=CLASSES[1],
        suggested_bbox=(3.25, 4.5, 30.75, 20.1),
        reason="",
    )
    listed = Corrections(split=None, classes=list(dataset.classes), exif=dataset.pixels.exif, corrections=[moved])
    listed.write(tmp_path / "list.json")
    done = []
    out = tmp_path / "again"
    again = written_beside(
        dataset, out, lambda path: done.append(correct(tmp_path / "data", tmp_path / "list.json", path))
    )
    assert_same(again, done[0].dataset)
    assert again.xywh[box].tolist() == [3.25, 4.5, 30.75, 20.1]


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes: list[demo_data.Scene] = []
    compose = demo_data.compose
    monkeypatch.setattr(demo_data, "compose", lambda *args: scenes.append(compose(*args)) or scenes[-1])
    demo_data.make_digits(tmp_path, images={"train": 4, "val": 2}, size=96)
    train, val = (bw.read_dataset(tmp_path, split) for split in ("train", "val"))
    assert train.classes == demo_data.CLASSES
    assert not train.left_out.faults + val.left_out.faults
    for row, scene in enumerate(scenes):
        data, place = (train, row) if row < 4 else (val, row - 4)
        np.testing.assert_array_equal(data.target(place).boxes, scene.boxes)
        np.testing.assert_array_equal(data.target(place).labels, scene.labels)
        assert data.decode(place).shape == scene.image.shape
        assert np.abs(data.decode(place).astype(int) - scene.image).mean() < 8  # JPEG


@pytest.mark.parametrize("made", ["voc itself", "coco itself"])
def test_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    """Of files by their paths, which a data set names from its own folder, and with ids of their own."""
    MADE[made](tmp_path / "data")
    dataset = bw.read_dataset(tmp_path / "data")
    run = keep_tiny_run(tmp_path / "run", dataset.classes)
    found: list[Any] = []

    def predict_images(*args: Any, **options: Any) -> Iterator[Any]:
        for one in predict.predict_images(*args, **options):
            found.append(one)
            yield one

    monkeypatch.setattr(assess, "predict_images", predict_images)
    rows = (2, 0, 1)
    assess.predict_to_folder(run.folder, [dataset.path(row) for row in rows], tmp_path / "found", score=0.0)
    read = read_results(tmp_path / "found" / "detections.json", dataset)
    assert sum(len(one.scores) for one in found) == len(read.score) > 0
    for row, one in zip(rows, found, strict=True):
        mine = read.image == row
        corners = one.boxes.double().numpy()
        np.testing.assert_array_equal(read.xywh[mine][:, :2], corners[:, :2])
        np.testing.assert_array_equal(read.xywh[mine][:, 2:], corners[:, 2:] - corners[:, :2])
        np.testing.assert_array_equal(read.score[mine], one.scores.double().numpy())
        np.testing.assert_array_equal(read.label[mine], one.labels.numpy())
    listed = json.loads((tmp_path / "found" / "images.json").read_text())
    assert [entry["file_name"] for entry in listed] == [str(dataset.path(row)) for row in rows]
