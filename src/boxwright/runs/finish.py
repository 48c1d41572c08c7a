"""What is written of detections once all of them are kept: it is read back line by line, so memory doesn't grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from boxwright._util.ownership import GENERATOR
from boxwright._util.writing import opened_aside, write_json_list
from boxwright.bridges import to_coco
from boxwright.drawing import draw_detections
from boxwright.errors import DataError
from boxwright.evaluate.entries import Entry
from boxwright.evaluate.results import write_entries
from boxwright.runs.formats import CSV_COLUMNS, Picture, csv_line, csv_rows
from boxwright.runs.kept import KeptDetections, Say
from boxwright.runs.outputs import Outputs
from boxwright.runs.videos import Frame, frame_rate, read_frames, write_video
from boxwright.text import plural
from boxwright.types import Detections


@dataclass
class Predictions:
    """Results of a prediction, and the files that hold them."""

    detections: Path
    """COCO results."""
    images: Path
    """Each image with its id, the name of its drawing, and what is wrong with it."""
    faults: dict[Path, str]
    """Files that couldn't be read, or not to their end, and why."""
    looked_at: int = 0
    """Images and frames that could be read."""


class _Found(Entry, gc=False, kw_only=True):
    """An entry that may have a drawing, or be of a frame."""

    drawing: str | msgspec.UnsetType = msgspec.UNSET
    frame: int | msgspec.UnsetType = msgspec.UNSET
    seconds: float | msgspec.UnsetType = msgspec.UNSET


def finish(kept: KeptDetections, files: Sequence[Path], outputs: Outputs, result: Predictions, say: Say) -> None:
    """Write all that is one file of many images, and say what was found in each video. Raises WriteError."""
    videos = _sum_up(kept, files, result)
    images = _images(kept, files, outputs)
    pairs = zip(images, kept, strict=True)
    entries = (_entries(image, found, outputs.classes) for image, found in pairs if not isinstance(found, str))
    write_entries(result.detections, chain.from_iterable(entries))
    write_json_list(result.images, _images(kept, files, outputs))
    if "csv" in outputs.wanted.formats:
        _write_csv(outputs.folder / "csv" / "detections.csv", kept, outputs.classes)
    for place, counts in videos.items():
        if outputs.videos[place]:
            _write_video(place, files[place], kept, outputs)
        found = ", ".join(f"{n} {outputs.classes[label]}" for label, n in sorted(counts.items()) if label >= 0)
        say(f"{files[place]}: {plural(counts[-1], 'frame')}, {found or 'nothing found'}")


def _sum_up(kept: KeptDetections, files: Sequence[Path], result: Predictions) -> dict[int, Counter[int]]:
    """Count each video's detections by label, and its frames under -1; add faults and images to the result."""
    videos: dict[int, Counter[int]] = {}
    for about, found in kept.lines():
        if isinstance(found, str):
            result.faults[files[about["file"]]] = found
            continue
        result.looked_at += 1
        if "frame" in about:
            videos.setdefault(about["file"], Counter()).update([-1, *np.asarray(found.labels).tolist()])
    return videos


def _images(kept: KeptDetections, files: Sequence[Path], outputs: Outputs) -> Iterator[dict[str, Any]]:
    """Describe each image for images.json; the first entry names the program that wrote it."""
    for number, (about, found) in enumerate(kept.lines(), start=1):
        fault = found if isinstance(found, str) else None
        place = about["file"]
        image: dict[str, Any] = {
            "image_id": number,
            "file_name": str(files[place]),
            "drawing": None if fault else outputs.drawings[place],
            "fault": fault,
        }
        image |= {key: about[key] for key in ("frame", "seconds") if key in about}
        if "size" in about:
            image |= dict(zip(("height", "width"), about["size"], strict=True))
        yield {"generator": GENERATOR, **image} if number == 1 else image


def _entries(image: dict[str, Any], found: Detections, classes: Sequence[str]) -> Iterator[Entry]:
    rest = {key: image[key] for key in ("drawing", "frame", "seconds") if image.get(key) is not None}
    for entry in to_coco(found, image["image_id"], classes):
        yield _Found(**entry, file_name=image["file_name"], **rest)


def _write_csv(path: Path, kept: KeptDetections, classes: Sequence[str]) -> None:
    with opened_aside(path) as file:
        file.write(csv_line(CSV_COLUMNS))
        for number, (about, found) in enumerate(kept.lines(), start=1):
            if not isinstance(found, str):
                picture = Picture(about["name"], (about["size"][0], about["size"][1]))
                for row in csv_rows(found, picture, classes, (number, about.get("frame"), about.get("seconds"))):
                    file.write(csv_line(row))


def _write_video(place: int, file: Path, kept: KeptDetections, outputs: Outputs) -> None:
    """Draw on the frames that were looked at, which are decoded once more."""
    name, every = outputs.videos[place], outputs.every
    assert name is not None
    frames = _drawn(place, _readable(file, every), kept, outputs)
    write_video(outputs.folder / name, frames, frame_rate(file) / every)


def _drawn(
    place: int, frames: Iterator[Frame], kept: KeptDetections, outputs: Outputs
) -> Iterator[tuple[float, Image.Image]]:
    following = next(frames, None)
    for about, found in kept.lines():
        if following is not None and (about["file"], about.get("frame")) == (place, following.number):
            boxes, labels, scores = found.boxes, found.labels, found.scores  # type: ignore[union-attr]
            picture = draw_detections(following.pixels, boxes, labels, scores, outputs.classes, strip=False)
            yield following.seconds, picture
            following = next(frames, None)


def _readable(file: Path, every: int) -> Iterator[Frame]:
    """Frames of a video, whatever is wrong with it: that is told already."""
    try:
        yield from read_frames(file, every)
    except DataError:
        return
