"""The average precision of a model file beside that of its run, on the same images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.inputs import Input
from boxwright.errors import DataError
from boxwright.evaluate import MetricsTable, compare_tables, detection_metrics
from boxwright.evaluate.paired import PairedDifference
from boxwright.export.choosing import chosen_from, detections_in
from boxwright.export.graph import Raw
from boxwright.export.samples import Sample, as_batch
from boxwright.export.verify import Arrays, Model
from boxwright.models.detector import Detector, to_image
from boxwright.models.selection import above_own
from boxwright.runs import Run
from boxwright.runs.predict import no_detections, predict_dataset
from boxwright.runs.splits import split_file_for
from boxwright.text import plural
from boxwright.types import Detections


@dataclass(frozen=True)
class Precision:
    """AP of a run and of its file, of detections above the file's scores."""

    split: str
    images: int
    run: float
    file: float
    difference: PairedDifference
    """The file's AP less the run's."""
    allowed: float
    figures: Mapping[str, Any]
    """The run's AP, AP50 and AP75 of all detections, as ``boxwright eval`` has them, with intervals."""

    @property
    def agrees(self) -> bool:
        """Whether the difference is no more than is allowed, or there is none to speak of."""
        return not abs(self.difference.value) > self.allowed

    def line(self) -> str:
        """Format the result as a line of text."""
        found = self.difference
        return (
            f"AP on {self.split} ({plural(self.images, 'image')}, detections above the file's scores): "
            f"run {self.run:.4f}, file {self.file:.4f}, "
            f"difference {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        )


def read_data(run: Run, detector: Detector, data: str | Path, split: str) -> DetectionDataset:
    """Read the split of a data set as the run does. Raises DataError."""
    options = detector.recipe.reader_options
    options |= {"split_file": split_file_for(run, data, reader=options["reader"])}
    return read_dataset(data, split, classes=detector.classes, **options)


def compare_precision(
    detector: Detector,
    model: Model,
    dataset: DetectionDataset,
    min_scores: Sequence[float],
    batch: int | None,
    allowed: float,
) -> Precision:
    """Measure both on a data set, in detections above ``min_scores`` (K,). An image that can't be read has none."""
    all_of_run, _ = predict_dataset(detector, dataset, device="cpu")
    found = [no_detections()] * len(dataset)
    for row, detections in _detect(detector, model, dataset, min_scores, batch or 1):
        found[row] = detections
    every = detection_metrics(all_of_run, dataset, dataset.classes)
    of_run = [above_own(each, min_scores) for each in all_of_run]
    tables = {"run": detection_metrics(of_run, dataset, dataset.classes)}
    tables["file"] = detection_metrics(found, dataset, dataset.classes)
    difference = compare_tables(tables, deciding=0)["file"].overall["AP"]
    run, file = (table.numbers["AP"] for table in tables.values())
    split = dataset.split or "all images"
    return Precision(split, len(dataset), run, file, difference, allowed, _figures(every, split, len(dataset)))


def _figures(metrics: MetricsTable, split: str, images: int) -> dict[str, Any]:
    content = metrics.to_json()
    names = ("AP", "AP50", "AP75")
    by_class = {name: values["AP"] for name, values in content["per_class"].items()}
    return {
        "split": split,
        "images": images,
        **{name: content[name] for name in names},
        "intervals": {name: content["intervals"][name] for name in names},
        "per_class": by_class,
    }


def _detect(
    detector: Detector, model: Model, dataset: DetectionDataset, min_scores: Sequence[float], batch: int
) -> Iterator[tuple[int, Detections]]:
    """Rows of the images that can be read, with the file's detections in their pixels."""
    reading = copy.copy(detector)
    reading.recipe = reading.recipe.replace(**dataset.pixels.to_dict())
    readable = _readable(reading, dataset)
    for group in iter(lambda: list(islice(readable, batch)), []):
        filled = [Sample("", each) for _, each in islice(cycle(group), batch)]
        inputs = as_batch(filled, detector.recipe.resize == "shortest")
        outputs = model({name: values.numpy() for name, values in inputs.items()})
        for place, (row, given) in enumerate(group):
            found = _of_image(detector, outputs, place, given, min_scores)
            yield row, to_image(found, given.frame, given.size)


def _of_image(detector: Detector, outputs: Arrays, place: int, given: Input, min_scores: Sequence[float]) -> Detections:
    if "count" in outputs:
        return detections_in(outputs, place)
    raw = Raw(*(torch.from_numpy(outputs[name][place]) for name in ("scores", "boxes")))
    height, width = given.pixels.shape[:2]
    return above_own(chosen_from(detector, raw, given.frame.size, (height, width), min(min_scores)), min_scores)


def _readable(detector: Detector, dataset: DetectionDataset) -> Iterator[tuple[int, Input]]:
    for row in range(len(dataset)):
        try:
            yield row, detector.prepare(dataset.path(row))
        except DataError:
            continue
