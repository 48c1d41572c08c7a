"""Made-up splits in COCO's own form, pycocotools run on them, and the same splits as our columns."""

from __future__ import annotations

import contextlib
import copy
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boxwright.evaluate import DetectionColumns, MetricsTable, TargetColumns


@dataclass
class Scene:
    truth: dict[str, Any]
    results: list[dict[str, Any]]

    @property
    def classes(self) -> list[str]:
        return [category["name"] for category in self.truth["categories"]]

    def columns(self) -> tuple[DetectionColumns, TargetColumns]:
        """Our columns; images in the order of the file, whatever their ids."""
        place = {image["id"]: row for row, image in enumerate(self.truth["images"])}
        label = {category["id"]: row for row, category in enumerate(self.truth["categories"])}
        notes = self.truth["annotations"]
        targets = TargetColumns(
            image=np.array([place[note["image_id"]] for note in notes], dtype=np.int64),
            label=np.array([label[note["category_id"]] for note in notes], dtype=np.int64),
            xywh=np.array([note["bbox"] for note in notes], dtype=np.float64).reshape(-1, 4),
            area=np.array([note["area"] for note in notes], dtype=np.float64),
            crowd=np.array([note["iscrowd"] for note in notes], dtype=bool),
            difficult=np.array([note.get("difficult", False) for note in notes], dtype=bool),
            image_rank=np.argsort(np.argsort(list(place))),
        )
        detections = DetectionColumns(
            image=np.array([place[entry["image_id"]] for entry in self.results], dtype=np.int64),
            label=np.array([label[entry["category_id"]] for entry in self.results], dtype=np.int64),
            score=np.array([entry["score"] for entry in self.results], dtype=np.float64),
            xywh=np.array([entry["bbox"] for entry in self.results], dtype=np.float64).reshape(-1, 4),
        )
        return detections, targets


def reference(scene: Scene) -> COCOeval:
    """pycocotools on a scene. It has no word for difficult: an area outside every range says the same."""
    truth = copy.deepcopy(scene.truth)
    for note in truth["annotations"]:
        if note.pop("difficult", False):
            note["area"] = 2e10
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        results = copy.deepcopy(scene.results)
        if results:
            found = ground.loadRes(results)
        else:  # loadRes can't read an empty list
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        evaluator = COCOeval(ground, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def assert_equal(table: MetricsTable, evaluator: COCOeval) -> None:
    """The twelve numbers and those of each class, NaN where pycocotools says -1."""

    def mean(values: np.ndarray) -> float:
        return values[values > -1].mean() if (values > -1).any() else -1.0

    ours = np.array(list(table.numbers.values())[:12])
    np.testing.assert_allclose(np.where(np.isnan(ours), -1, ours), evaluator.stats, rtol=0, atol=1e-9)
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    for place, values in enumerate(table.per_class.values()):
        numbers = np.array([values[key] for key in ("AP", "AP50", "AP75", "AR100")])
        theirs = [
            mean(precision[:, :, place, 0, 2]),
            mean(precision[0, :, place, 0, 2]),
            mean(precision[5, :, place, 0, 2]),
            mean(recall[:, place, 0, 2]),
        ]
        np.testing.assert_allclose(np.where(np.isnan(numbers), -1, numbers), theirs, rtol=0, atol=1e-9)


def make_scene(
    seed: int,
    *,
    images: int = 4,
    classes: int = 3,
    targets: int = 6,
    detections: int = 14,
    crowd: float = 0.15,
    difficult: float = 0.0,
    scores: int = 8,
    step: float = 4.0,
) -> Scene:
    """Boxes on a coarse grid, so that equal overlaps and overlaps exactly at a threshold come up; few scores, so that
    many are equal; image ids out of order, classes without targets, empty images, areas that aren't w * h."""
    random = np.random.default_rng(seed)
    ids = (random.permutation(images * 3)[:images] + 1).tolist()
    category_ids = np.sort(random.permutation(classes * 2)[:classes] + 1).tolist()

    def box() -> list[float]:
        side = step * random.integers(1, 7, 2) * random.choice([1, 2, 5])
        return [*(step * random.integers(0, 10, 2)).tolist(), *side.tolist()]

    notes: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in ids:
        mine: list[dict[str, Any]] = []
        for _ in range(random.integers(0, targets + 1)):
            again = mine and random.random() < 0.15
            bbox = list(mine[-1]["bbox"]) if again else box()
            note = {
                "image_id": image,
                "category_id": int(random.choice(category_ids[: max(1, classes - 1)])),
                "bbox": bbox,
                "area": float(bbox[2] * bbox[3] * random.choice([1.0, 0.5, 1.1])),
                "iscrowd": int(random.random() < crowd),
                "difficult": bool(random.random() < difficult),
            }
            mine.append(note)
        notes += mine
        for _ in range(random.integers(0, detections + 1) if random.random() < 0.85 else 0):
            bbox, category = box(), int(random.choice(category_ids))
            if mine and random.random() < 0.75:
                near = mine[random.integers(len(mine))]
                bbox = [value + step * random.integers(-1, 2) for value in near["bbox"]]
                bbox[2:] = [max(value, step) for value in bbox[2:]]
                category = near["category_id"]
            score = float(random.integers(1, scores + 1)) / scores
            results.append({"image_id": image, "category_id": category, "bbox": bbox, "score": score})
    truth = {
        "images": [{"id": image, "file_name": f"{image}.jpg"} for image in ids],
        "categories": [{"id": category, "name": f"class {category}"} for category in category_ids],
        "annotations": [{"id": row + 1, **note} for row, note in enumerate(notes)],
    }
    shuffled = [results[row] for row in random.permutation(len(results))]
    return Scene(truth, shuffled)
