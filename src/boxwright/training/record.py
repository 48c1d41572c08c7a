"""data.json: the data that a run read, with the check's findings, and how the training went."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright._util.writing import write_json
from boxwright.check import check_dataset
from boxwright.check.images import ImageFacts
from boxwright.data import DetectionDataset
from boxwright.environment import environment
from boxwright.own_code import describe_code
from boxwright.recipes import Recipe
from boxwright.text import plural
from boxwright.training.options import RunOptions
from boxwright.training.schedule import Progress

CHECKED_IMAGES = 5000
"""Larger data sets are not checked before every training, since that decodes each image of every split."""


@dataclass(frozen=True)
class Record:
    """The content of data.json, beside the environment."""

    data: dict[str, Any]
    training: dict[str, Any]
    origin: dict[str, Any]
    """Facts for resuming and repeating the run: options, fingerprint of the data, commands."""
    unreadable: dict[str, str]
    """Image -> why it could not be decoded."""

    def write(self, path: Path) -> None:
        """Write data.json; raises WriteError."""
        write_json(path, {**asdict(self), "environment": environment()})


def describe_data(
    datasets: Sequence[DetectionDataset],
    recipe: Recipe,
    source: Path | None,
    console: Console,
    known: Mapping[str, ImageFacts] | None = None,
    finding: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe images, boxes of each class and split, and findings; for the whole folder if it was checked.

    ``known``: facts of images that were decoded already, by path. ``finding``: where the splits are.
    """
    if source is None or sum(len(dataset) for dataset in datasets) > CHECKED_IMAGES:
        return {
            "images": sum(len(dataset) for dataset in datasets),
            "boxes": sum(len(dataset.boxes) for dataset in datasets),
            "classes": _boxes_by_class(datasets, recipe.classes),
            "left out": "; ".join(filter(None, (dataset.left_out.summary() for dataset in datasets))),
        }
    options = {**recipe.reader_options, **(finding or {})}
    with bar("checking", console) as advance:
        report = check_dataset(source, classes=recipe.classes, **options, known=known, progress=advance)
    if report.findings:
        found = f"{plural(report.errors, 'error')} and {plural(report.warnings, 'warning')}"
        say(console, f"check: {found}: see boxwright check {source}")
    counts = {
        name: {split.name: split.boxes[label] for split in report.splits} for label, name in enumerate(report.classes)
    }
    return {**report.to_json(), "layout": report.layout, "classes": counts}


def describe_run(options: RunOptions, recipe: Recipe, images: int, workers: int) -> dict[str, Any]:
    """Describe what is known before the first step."""
    return {
        "split": options.split,
        "validation": options.val_split or "none",
        "images": images,
        "batch size": recipe.images_a_batch,
        "seed": options.seed,
        "workers": workers,
        **({"code": code} if (code := describe_code(recipe.to_dict())) else {}),
    }


def describe_origin(
    options: RunOptions,
    datasets: Sequence[DetectionDataset],
    commands: Sequence[str],
    start: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Record what resuming needs, and how to repeat the run. ``start``: what the detector took from one."""
    origin = {"options": options.to_json(), "fingerprint": fingerprint(datasets), "commands": list(commands)}
    return origin if start is None else {**origin, "start": start}


def fingerprint(datasets: Sequence[DetectionDataset]) -> str:
    """Compute a fingerprint of image names, boxes, labels and classes, in order, which differs for other data."""
    digest = hashlib.sha256()
    for dataset in datasets:
        names = [dataset.name(index) for index in range(len(dataset))]
        digest.update(json.dumps([dataset.classes, names]).encode())
        for array in (dataset.offsets, dataset.boxes, dataset.labels, dataset.code, dataset.regions.boxes):
            digest.update(array.tobytes())
    return digest.hexdigest()


def describe_outcome(steps: int, progress: Progress, recipe: Recipe, device: str, precision: str) -> dict[str, Any]:
    """Describe what is known after the last step."""
    images = steps * recipe.images_a_batch * recipe.accumulate
    return {
        "steps": steps,
        "minutes of steps": round(progress.elapsed / 60, 2),
        "images/s": round(images / max(progress.elapsed, 1e-9), 2),
        "device": device,
        "precision": precision,
    }


def _boxes_by_class(datasets: Sequence[DetectionDataset], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    counts = {dataset.split or "all": np.bincount(dataset.labels, minlength=len(classes)) for dataset in datasets}
    return {name: {split: int(boxes[label]) for split, boxes in counts.items()} for label, name in enumerate(classes)}
