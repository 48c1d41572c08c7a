"""Run a detector over a data set or over files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from boxwright._util.allocator import keep_large_blocks
from boxwright._util.ownership import is_marked, is_ours
from boxwright.data.dataset import DetectionDataset
from boxwright.data.files import is_image
from boxwright.environment import Device, choose_device
from boxwright.errors import BoxwrightWarning, DataError
from boxwright.models.batching import predict_stream
from boxwright.models.detector import Detector, InferencePrecision, Score
from boxwright.models.selection import EVALUATION_SCORE
from boxwright.runs.asked import listed
from boxwright.runs.exported import ExportedModel
from boxwright.runs.kept import KeptDetections
from boxwright.runs.videos import is_video
from boxwright.types import Detections


def predict_dataset(
    detector: Detector | ExportedModel,
    dataset: DetectionDataset,
    *,
    score: float = EVALUATION_SCORE,
    batch: int | None = None,
    precision: InferencePrecision = "float32",
    device: Device = "auto",
    kept: KeptDetections | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> tuple[list[Detections], dict[str, str]]:
    """Detect in every image, in order and in its pixels; also returns the faults of unreadable files, by name.

    Images are decoded as the data set says. An unreadable one has no detections. ``batch``: inputs at a time, see
    ``predict_stream``. ``precision``: see ``Detector.for_inference``. ``device``: where the network computes. ``kept``:
    what is found already; the rest is added. Raises RecipeError for a device that isn't here.
    """
    ready = _ready(detector, precision, device)
    ready.recipe = ready.recipe.replace(**dataset.pixels.to_dict())
    found = [] if kept is None else list(kept)
    paths = map(dataset.path, range(len(found), len(dataset)))
    for answer in predict_stream(ready, paths, score=score, batch=batch):
        found.append(str(answer) if isinstance(answer, DataError) else answer)
        if kept is not None:
            kept.append(found[-1])
        advance(len(found))
    faults = {dataset.name(place): one for place, one in enumerate(found) if isinstance(one, str)}
    return [no_detections() if isinstance(one, str) else one for one in found], faults


def predict_images(
    detector: Detector | ExportedModel,
    images: Iterable[Any],
    score: Score | None = None,
    batch: int | None = None,
    *,
    precision: InferencePrecision = "float32",
    device: Device = "auto",
) -> Iterator[Detections | DataError]:
    """Yield what is found in each image that ``Detector.predict`` takes, or what is wrong with its file."""
    return predict_stream(_ready(detector, precision, device), images, score=score, batch=batch)


def _ready(
    detector: Detector | ExportedModel, precision: InferencePrecision, device: Device
) -> Detector | ExportedModel:
    keep_large_blocks()
    if isinstance(detector, ExportedModel):
        return detector.on(device, precision)
    return detector.to(choose_device(device)).for_inference(precision)


def find_images(sources: Iterable[str], *, videos: bool = False, lines: BinaryIO | None = None) -> list[Path]:
    """Find the images that files, folders (recursively) and globs name, each once, sorted within its source.

    With ``videos`` globs give these too; folders never do. ``lines``: what the source - stands for, a list of files.
    Links to folders are not followed. What boxwright drew, or put into folders of its own, is left out with a warning,
    and so are pipes and devices, unless nothing else is named.

    Raises DataError for a source that names no image.
    """
    files: dict[Path, None] = {}
    special = []
    for source in sources:
        try:
            found = _images_of(source, videos) if lines is None or source != "-" else listed(lines)
        except (OSError, ValueError, NotImplementedError, IndexError) as error:  # the last three of pathlib, by version
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"no image at {source!r}: {str(reason).lower()}") from None
        if not found and Path(source).exists() and not Path(source).is_dir():
            special.append(source)
        elif not found:
            raise DataError(f"no image at {source or repr(source)}{_of_videos(source) if videos else ''}")
        files.update(dict.fromkeys(found))
    if special and not files:
        raise DataError(f"no image at {special[0]}: it is no regular file")
    for source in special:
        _warn(f"left out {source}: it is no regular file")
    return list(files)


def _of_videos(source: str) -> str:
    """Explain how to name the videos of a folder that has no image."""
    if not source or not Path(source).is_dir():
        return ""
    found = next((file for file in sorted(Path(source).iterdir()) if is_video(file.name)), None)
    return f": its videos are looked at where they are named, '{found.parent / '*'}{found.suffix}'" if found else ""


def _images_of(source: str, videos: bool) -> list[Path]:
    if not source:  # pathlib takes it for the current folder
        return []
    path = Path(source)
    if path.is_file():
        return [path]
    if path.name == "**":  # folders alone before Python 3.13
        path /= "*"
    if path.is_dir():
        candidates = [file for file in _files_below(path) if is_image(file.name)]
    else:
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(anchor) if path.is_absolute() else path)
        candidates = [file for file in anchor.glob(pattern) if is_image(file.name) or (videos and is_video(file.name))]
    found = [file for file in candidates if file.is_file()]
    people = [file for file in found if not is_ours(file) or not file.stat().st_size]
    if len(people) < len(found):
        _warn(f"left out {len(found) - len(people)} of the pictures at {source}: boxwright drew them")
    return sorted(people)


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        made = [name for name in folders if is_marked(Path(place, name))]
        for name in made:
            _warn(f"left out the folder {Path(place, name)}: boxwright made it")
            folders.remove(name)
        yield from (Path(place, name) for name in names)


def _warn(text: str) -> None:
    warnings.warn(text, BoxwrightWarning, stacklevel=2)


def no_detections() -> Detections:
    """Return empty detections, for an image without any, or an unreadable one."""
    return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
