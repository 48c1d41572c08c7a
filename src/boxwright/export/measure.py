"""How good and how fast a model is, by the scores and boxes that it gives of a data set's images."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import NamedTuple

import torch

from boxwright.data import DetectionDataset
from boxwright.data.inputs import Input
from boxwright.errors import DataError
from boxwright.evaluate import MetricsTable, detection_metrics
from boxwright.export.choosing import chosen_from
from boxwright.export.graph import Raw
from boxwright.export.samples import Sample, as_batch
from boxwright.export.verify import Arrays, Model
from boxwright.models.detector import Detector, to_image
from boxwright.models.selection import EVALUATION_SCORE
from boxwright.runs.predict import no_detections

_TURNS, _SECONDS = 40, 20.0
"""Limits of a speed measurement, whichever is reached first."""


class Fed(NamedTuple):
    """Input of a model for one batch."""

    rows: list[int]
    """Indices of the images in the data set."""
    inputs: list[Input]
    """The images."""
    arrays: Arrays
    """Arrays by input name; a batch is filled up with the first images."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, models that are opened compute in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Pictures:
    """A data set's images as a model takes them."""

    detector: Detector
    dataset: DetectionDataset
    batch: int
    """Images at a time."""

    def fed(self, rows: Iterable[int]) -> Iterator[Fed]:
        """Prepare some of the images, without those that can't be read."""
        detector = copy.copy(self.detector)
        detector.recipe = detector.recipe.replace(**self.dataset.pixels.to_dict())
        readable = _readable(detector, self.dataset, rows)
        for group in iter(lambda: list(islice(readable, self.batch)), []):
            filled = [Sample("", each) for _, each in islice(cycle(group), self.batch)]
            arrays = as_batch(filled, detector.recipe.resize == "shortest")
            yield Fed(
                [row for row, _ in group],
                [each for _, each in group],
                {name: part.numpy() for name, part in arrays.items()},
            )

    def metrics(self, model: Model, raw: Sequence[str]) -> MetricsTable:
        """Score a model on all images; the first two of its outputs ``raw`` are scores and boxes.

        An image that can't be read has no detections.
        """
        found = [no_detections()] * len(self.dataset)
        for rows, inputs, arrays in self.fed(range(len(self.dataset))):
            outputs = model(arrays)
            scores, boxes = (torch.from_numpy(outputs[name]) for name in raw[:2])
            height, width = arrays["images"].shape[1:3]
            for place, (row, given) in enumerate(zip(rows, inputs, strict=True)):
                of_image = Raw(scores[place], boxes[place])
                chosen = chosen_from(self.detector, of_image, given.frame.size, (height, width), EVALUATION_SCORE)
                found[row] = to_image(chosen, given.frame, given.size)
        return detection_metrics(found, self.dataset, self.dataset.classes)


def _readable(detector: Detector, dataset: DetectionDataset, rows: Iterable[int]) -> Iterator[tuple[int, Input]]:
    for row in rows:
        try:
            yield row, detector.prepare(dataset.path(row))
        except DataError:
            continue


def images_per_second(models: Sequence[Model], arrays: Sequence[Arrays]) -> list[float]:
    """Images a second of processor time of each model, which take turns on the same inputs."""
    spent, images, started = [0.0] * len(models), 0, time.process_time()
    for model in models:
        model(arrays[0])  # the first takes longer
    for given in islice(cycle(arrays), _TURNS):
        for place, model in enumerate(models):
            before = time.process_time()
            model(given)
            spent[place] += time.process_time() - before
        images += len(given["images"])
        if time.process_time() - started > _SECONDS:
            break
    return [images / each for each in spent]
