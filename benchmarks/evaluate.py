"""Speed of the COCO evaluation against pycocotools.

    python benchmarks/evaluate.py [--only NAME] [--rounds 3]

Both sides get the same detections and targets in memory, in the form that suits each; reading files isn't timed.
pycocotools: evaluate, accumulate and summarize (its building of result indices isn't counted). boxwright:
`detection_metrics`, which also makes the VOC numbers and the table by class. Neither uses a second thread. The twelve
numbers of both must agree to 1e-9.
"""

from __future__ import annotations

import contextlib
import io
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from turns import Row, arguments, compare, run

from boxwright.evaluate import DetectionColumns, TargetColumns, detection_metrics

CASES = {
    "1,000 images x 100 detections, 80 classes": (1000, 100, 80, 7),
    "1,000 images x 300 detections, 1 class": (1000, 300, 1, 15),
}


def split(images: int, detections: int, classes: int, targets: int) -> tuple[DetectionColumns, TargetColumns]:
    """Targets of all sizes, one in fifty a crowd; half of the detections lie near a target, as a real head's do."""
    random = np.random.default_rng(0)
    count = images * targets
    sides = np.exp(random.uniform(np.log(8), np.log(300), (count, 2)))
    xywh = np.concatenate([random.uniform(0, 640, (count, 2)) - sides / 2, sides], axis=1)
    label = random.integers(0, classes, count)
    image = np.repeat(np.arange(images), targets)
    area = sides.prod(axis=1) * random.uniform(0.4, 1, count)
    none = np.zeros(count, bool)
    crowd = random.random(count) < 0.02
    ground_truth = TargetColumns(image, label, xywh, area, crowd, none, np.arange(images))

    owner = np.repeat(np.arange(images), detections)
    source = owner * targets + random.integers(0, targets, len(owner))
    near = random.random(len(owner)) < 0.5
    noise = random.normal(0, 0.15, (len(owner), 4)) * xywh[source][:, [2, 3, 2, 3]]
    far = np.concatenate([random.uniform(0, 600, (len(owner), 2)), random.uniform(8, 200, (len(owner), 2))], axis=1)
    boxes = np.where(near[:, None], xywh[source] + noise, far)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    labels = np.where(near & (random.random(len(owner)) < 0.8), label[source], random.integers(0, classes, len(owner)))
    return DetectionColumns(owner, labels, random.random(len(owner)), boxes), ground_truth


def reference(detections: DetectionColumns, targets: TargetColumns, classes: int) -> COCOeval:
    """pycocotools with its indices built."""
    truth: Any = COCO()
    columns = (targets.image, targets.label, targets.xywh, targets.area, targets.crowd)
    truth.dataset = {
        "images": [{"id": place} for place in range(len(targets.image_rank))],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": [
            {"id": row + 1, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
            for row, (image, label, box, area, crowd) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
        ],
    }
    truth.createIndex()
    found = (detections.image, detections.label, detections.xywh, detections.score)
    results = [
        {"image_id": image, "category_id": label, "bbox": box, "score": score}
        for image, label, box, score in zip(*(column.tolist() for column in found), strict=True)
    ]
    return COCOeval(truth, truth.loadRes(results), "bbox")


def numbers(evaluator: COCOeval) -> np.ndarray:
    """pycocotools' twelve."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def rows(options: Namespace) -> Iterator[Row]:
    for name, (images, detections, classes, per_image) in CASES.items():
        if options.only not in (None, name):
            continue
        columns, targets = split(images, detections, classes, per_image)
        ours = partial(detection_metrics, columns, targets, [str(label) for label in range(classes)])
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = reference(columns, targets, classes)
        np.testing.assert_allclose(list(ours().numbers.values())[:12], numbers(evaluator), rtol=0, atol=1e-9)
        yield from compare(options, {name: ours}, partial(numbers, evaluator), unit="s")


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=3, cases=CASES))
