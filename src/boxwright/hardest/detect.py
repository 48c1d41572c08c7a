"""Detections of a detector in all images of a data set, in a few bytes each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from boxwright.data import DetectionDataset, image_size
from boxwright.errors import DataError
from boxwright.evaluate import DetectionColumns, to_detections
from boxwright.models.detector import Detector
from boxwright.models.selection import EVALUATION_SCORE
from boxwright.runs.predict import no_detections, predict_images
from boxwright.types import Detections

_BLOCK = 256  # images whose detections are converted to columns at once


def detect(
    detector: Detector, dataset: DetectionDataset, advance: Callable[[int], None] = lambda done: None
) -> tuple[DetectionColumns, dict[int, str]]:
    """Detect in every image, and report by index what is wrong with images that cannot be used.

    These are the images that training leaves out: unreadable ones, and those whose EXIF rotation contradicts their
    boxes.
    """
    detector.recipe = detector.recipe.replace(**dataset.pixels.to_dict())
    files = [dataset.path(place) for place in range(len(dataset))]
    faults: dict[int, str] = {}
    block: list[Detections] = []
    columns: list[DetectionColumns] = []
    for place, answer in enumerate(predict_images(detector, files, score=EVALUATION_SCORE)):
        found = answer if isinstance(answer, DataError) else _turned(dataset, place) or answer
        if isinstance(found, DataError):
            faults[place] = str(found).removeprefix(f"{files[place]}: ")
            found = no_detections()
        block.append(found)
        if len(block) == _BLOCK or place == len(files) - 1:
            columns.append(_columns(block, place + 1 - len(block)))
            block.clear()
        advance(place + 1)
    return _joined(columns), faults


def _turned(dataset: DetectionDataset, place: int) -> DataError | None:
    rule = dataset.pixels
    if rule.exif is not None:
        return None
    try:
        dataset.check_frame(place, image_size(dataset.path(place), max_pixels=rule.max_pixels))
    except DataError as error:
        return error
    return None


def _columns(block: Sequence[Detections], first: int) -> DetectionColumns:
    """Convert the detections of consecutive images, starting at index ``first``, to columns."""
    found = to_detections(block)
    return DetectionColumns(found.image + first, found.label, found.score, found.xywh)


def _joined(blocks: Sequence[DetectionColumns]) -> DetectionColumns:
    return DetectionColumns(
        *(np.concatenate([getattr(block, name) for block in blocks]) for name in DetectionColumns.__slots__)
    )
