"""Run a detector over a data set or over people's files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from boxwright.data.dataset import DetectionDataset
from boxwright.data.files import IMAGE_SUFFIXES
from boxwright.errors import DataError
from boxwright.models.detector import EVALUATION_SCORE, Detector
from boxwright.types import Detections


def predict_dataset(
    detector: Detector,
    dataset: DetectionDataset,
    *,
    score: float = EVALUATION_SCORE,
    advance: Callable[[int], None] = lambda done: None,
) -> tuple[list[Detections], dict[str, str]]:
    """Detections of every image in order, in its pixels, and the faults of files that can't be read, by name.

    An unreadable image has no detections.
    """
    folded = detector.for_inference()
    found, faults = [], {}
    for index in range(len(dataset)):
        try:
            found += folded.predict(dataset.path(index), score=score)
        except DataError as error:
            found.append(no_detections())
            faults[dataset.name(index)] = str(error)
        advance(index + 1)
    return found, faults


def predict_files(
    detector: Detector, files: Iterable[Path], *, score: float | None = None
) -> Iterator[tuple[Path, Detections | DataError]]:
    """Each file with its detections, or with what is wrong with it."""
    folded = detector.for_inference()
    for file in files:
        try:
            yield file, folded.predict(file, score=score)[0]
        except DataError as error:
            yield file, error


def find_images(sources: Iterable[str]) -> list[Path]:
    """The images that files, folders (with those below) and globs name, each once, sorted within its source.

    Raises DataError for a source that names none.
    """
    files: dict[Path, None] = {}
    for source in sources:
        found = _images_of(source)
        if not found:
            raise DataError(f"no image at {source}")
        files.update(dict.fromkeys(found))
    return list(files)


def _images_of(source: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates: Iterable[Path] = path.rglob("*")
    else:
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        candidates = anchor.glob(str(path.relative_to(anchor) if path.is_absolute() else path))
    return sorted(file for file in candidates if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES)


def no_detections() -> Detections:
    """Of an image on which nothing was found, or that couldn't be read."""
    return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
