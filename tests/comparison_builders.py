"""A tiny data set, settings that train in a second, jobs of them, and runs that train nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boxwright.compare.results.results import METRICS, RunResult
from boxwright.compare.run.jobs import Job, failed, write_result
from boxwright.data import read_dataset
from boxwright.demo_data import make_digits
from boxwright.evaluate import detection_metrics, save_results
from boxwright.recipes import Recipe, get_recipe
from boxwright.types import Detections

TINY: dict[str, Any] = {"image_size": 64, "width": 32, "batch_size": 4, "freeze": 4}
DIGITS = tuple("0123456789")


def digits(folder: Path) -> Path:
    return make_digits(folder, images={"train": 16, "val": 6, "test": 4}, size=64)


def recipe(**options: Any) -> Recipe:
    return get_recipe("lite320", **{**TINY, "classes": DIGITS, **options})


def job(data: Path, folder: Path, arm: Recipe, *, seed: int = 0, **options: Any) -> Job:
    fields: dict[str, Any] = {"name": "arm", "steps": 5, "threads": 1, "device": "cpu", **options}
    name = fields.pop("name")
    return Job(arm=name, seed=seed, recipe=arm, baseline=recipe(), folder=folder, data=data, **fields)


def fake(jobs: list[Job], *, stop_after: int = 1000, broken: str = "") -> Callable[..., Iterator[RunResult]]:
    """Runs that train nothing, in place of ``run_locally``; the jobs are noted."""

    def run(left: Sequence[Job], watch: Callable[[Sequence[Job]], None]) -> Iterator[RunResult]:
        for place, job in enumerate(left):
            if place == stop_after:
                raise KeyboardInterrupt
            jobs.append(job)
            watch([job])
            yield measured(job) if job.arm != broken else fail(job)

    return run


def fail(job: Job) -> RunResult:
    job.folder.mkdir(parents=True)
    write_result(job.result_file, result := failed(job, "RuntimeError: broken"))
    return result


def measured(job: Job) -> RunResult:
    """Every box is found, apart by a few pixels; those of ciou by fewer."""
    dataset = read_dataset(job.data, job.val_split)
    random = np.random.default_rng(job.seed)
    apart = 0.3 if job.arm == "ciou" else 2.0
    found = []
    for place in range(len(dataset)):
        boxes, labels, _ = dataset.target(place)
        moved = boxes + random.normal(0, apart, boxes.shape).astype(np.float32)
        found.append(Detections(moved, random.uniform(0.5, 1, len(boxes)), labels))  # type: ignore[arg-type]
    job.detections_file.parent.mkdir(parents=True)
    metrics = detection_metrics(save_results(job.detections_file, found, dataset), dataset, dataset.classes)
    numbers = {name: metrics.numbers[name] for name in METRICS}
    result = RunResult(job.arm, job.seed, numbers, metrics.per_class, {"Loc": 0.1}, 2.0, 20.0, 500.0, job.steps)
    write_result(job.result_file, result)
    return result
