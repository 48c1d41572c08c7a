"""Speed of the COCO evaluation against pycocotools, in one process and one thread.

    OMP_NUM_THREADS=1 python benchmarks/evaluate.py [--only NAME]

Both get detections in memory in the form that suits them; reading files isn't timed. pycocotools: evaluate, accumulate
and summarize (its building of result indices isn't counted). boxwright: `detection_metrics`, which also makes the VOC
numbers and the table by class. The twelve numbers of both must agree to 1e-9.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import time
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boxwright.evaluate import DetectionColumns, TargetColumns, detection_metrics

CASES = {
    "1000 images, 100 detections, 80 classes": (1000, 100, 80, 7),
    "5000 images, 100 detections, 80 classes": (5000, 100, 80, 7),
    "1000 images, 300 detections, 1 class": (1000, 300, 1, 15),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES, help="one case")
    only = parser.parse_args().only
    for name, (images, detections, classes, per_image) in CASES.items():
        if only not in (None, name):
            continue
        columns, targets = split(images, detections, classes, per_image)
        seconds = []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            start = time.perf_counter()
            table = detection_metrics(columns, targets, [str(label) for label in range(classes)])
            seconds.append(time.perf_counter() - start)
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = reference(columns, targets, classes)
            start = time.perf_counter()
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
            theirs = time.perf_counter() - start
        difference = np.abs(np.array(list(table.numbers.values()))[:12] - evaluator.stats).max()
        print(
            f"{name}: boxwright {min(seconds):.2f} s (+{memory:.0f} MB), pycocotools {theirs:.1f} s, "
            f"{theirs / min(seconds):.0f} times; AP {table.AP:.4f}, largest difference {difference:.1e}",
            flush=True,
        )
        if difference > 1e-9:
            raise SystemExit("the numbers differ")


if __name__ == "__main__":
    main()
