"""COCO results files: read from and written for other tools, with the ground truth that belongs to them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.reading import escaped
from boxwright._util.writing import json_bytes, write_bytes, write_json_list
from boxwright.errors import DataError
from boxwright.evaluate.columns import DetectionColumns, Ints, nms_and_topk, to_detections
from boxwright.evaluate.entries import Entry, read_entries

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")  # an id written as a number
_ROWS = 10_000  # columns written at a time
_IDS = (
    "Ids are the data's own for COCO; else image_id is the 1-based place in the sorted file names "
    "and category_id is the label + 1, classes sorted by name. Entries may carry file_name and category instead."
)


def read_results(path: Path | str, dataset: Any) -> DetectionColumns:
    """Read detections from a COCO results file: [{image_id, category_id, bbox: [x, y, w, h], score}, ...].

    An id that the data set does not have, or whose file_name or category contradicts the data set, is resolved by that
    name (a file name also by its last part, if only one image has it). Ids may be text, and an id that is not a number
    may be the name.

    Args:
        path: The file.
        dataset: A `boxwright.data.DetectionDataset`: image_ids, category_ids, classes, name(i), offsets.

    Raises:
        DataError: If the file is missing or is not such a list; if ids belong to nothing, naming the first few; if
            numbers are not finite. Names the first faulty entry.

    Examples:
        >>> dataset = bw.read_dataset("data", "val")
        >>> nothing = [{"boxes": np.zeros((0, 4)), "scores": [], "labels": []}] * len(dataset)
        >>> _ = bw.evaluate.save_results("detections.json", nothing, dataset)
        >>> detections = bw.evaluate.read_results("detections.json", dataset)
        >>> bw.evaluate.detection_metrics(detections, dataset, dataset.classes).AP
        0.0
    """
    path = Path(path)
    entries = read_entries(path)
    names = [dataset.name(place) for place in range(len(dataset.offsets) - 1)]
    images = _Resolver(dataset.image_ids, names, "image_id", _last_part)
    labels = _Resolver(dataset.category_ids, dataset.classes, "category_id", str)
    return DetectionColumns(
        image=images.resolve(((entry.image_id, entry.file_name) for entry in entries), path),
        label=labels.resolve(((entry.category_id, entry.category) for entry in entries), path),
        score=np.array([entry.score for entry in entries], dtype=np.float64),
        xywh=np.array([entry.bbox for entry in entries], dtype=np.float64).reshape(-1, 4),
    )


def save_results(path: Path | str, detections: Any, dataset: Any, *, overwrite: bool = False) -> DetectionColumns:
    """Write detections as a COCO results file and return those written.

    It keeps scores from 0.001 and the best 100 of each image, see `columns.nms_and_topk`. Numbers read back to the last
    bit:
    metrics of the file and of the returned detections are the same.

    Args:
        path: The file.
        detections: See `columns.to_detections`, in the order of the data set.
        dataset: As in `read_results`.
        overwrite: Replace a file that boxwright did not write.

    Raises:
        WriteError: If the file cannot be written, or boxwright did not write it and ``overwrite`` is False.

    Examples:
        >>> dataset = bw.read_dataset("data", "val")
        >>> nothing = [{"boxes": np.zeros((0, 4)), "scores": [], "labels": []}] * len(dataset)
        >>> len(bw.evaluate.save_results("detections.json", nothing, dataset).score)
        0
    """
    claim(Path(path), overwrite=overwrite)
    kept = nms_and_topk(to_detections(detections))
    write_entries(Path(path), _entries(kept, dataset))
    return kept


def _entries(kept: DetectionColumns, dataset: Any) -> Iterator[Entry]:
    image_ids, category_ids = _plain(dataset.image_ids), _plain(dataset.category_ids)
    for start in range(0, len(kept), _ROWS):
        part = kept.take(np.arange(start, min(start + _ROWS, len(kept))))
        columns = (part.image.tolist(), part.label.tolist(), part.xywh.tolist(), part.score.tolist())
        for image, label, box, score in zip(*columns, strict=True):
            yield Entry(
                image_id=image_ids[image],
                category_id=category_ids[label],
                bbox=box,
                score=score,
                file_name=dataset.name(image),
                category=dataset.classes[label],
            )


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """Write a COCO results file entry by entry as they come; the first one names the program that wrote it.

    Raises:
        WriteError: If it cannot be written.
    """
    write_json_list(path, map(_signed, count(), entries))


def _signed(place: int, entry: Entry) -> Entry:
    if place == 0:
        entry.generator = GENERATOR
    return entry


def save_targets(path: Path | str, dataset: Any, *, overwrite: bool = False) -> None:
    """Write the data set's targets as COCO ground truth, with the same ids as the results file.

    Raises:
        WriteError: As ``save_results`` does.

    Examples:
        >>> dataset = bw.read_dataset("data", "val")
        >>> bw.evaluate.save_targets("targets.json", dataset)
    """
    claim(Path(path), overwrite=overwrite)
    write_bytes(Path(path), json_bytes({"generator": GENERATOR, **dataset.coco_json()}))


class _Resolver:
    """Maps an id and a name, either of which may be missing, to the index of an image or a class."""

    def __init__(self, ids: Any, names: Iterable[str], what: str, shorten: Any) -> None:
        self.what, self.shorten, self.names = what, shorten, list(names)
        self.by_id = {key: place for place, key in enumerate(_plain(ids))}
        counts = Counter(map(shorten, self.names))
        self.by_name = {name: place for place, name in enumerate(self.names)}
        self.by_short = {shorten(name): i for i, name in enumerate(self.names) if counts[shorten(name)] == 1}

    def resolve(self, keys: Iterable[tuple[Any, str | None]], path: Path) -> Ints:
        cache: dict[tuple[Any, str | None], int] = {}
        places, unknown = [], []
        for key in keys:
            place = cache.get(key)
            if place is None:
                place = cache[key] = self._place(*key)
                if place < 0:
                    unknown.append(key)
            places.append(place)
        if unknown:
            raise DataError(f"{path}: entry {places.index(-1)}: {self._complaint(unknown)}")
        return np.array(places, dtype=np.int64)

    def _place(self, key: Any, name: str | None) -> int:
        place = self.by_id.get(int(key) if isinstance(key, str) and _WHOLE.fullmatch(key) else key, -1)
        place = self.by_id.get(key, place)
        known = self.names[place] if place >= 0 else None
        name = key if name is None and place < 0 and isinstance(key, str) else name
        if name is None or name == known:
            return place
        if name in self.by_name:
            return self.by_name[name]
        short = self.shorten(name)
        return place if known is not None and self.shorten(known) == short else self.by_short.get(short, -1)

    def _complaint(self, unknown: list[tuple[Any, str | None]]) -> str:
        first = ", ".join(f"{key!r} ({name})" if name else repr(key) for key, name in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        known = ", ".join(map(repr, list(self.by_id)[:3]))
        return (
            f"{self.what} {escaped(first)}{more} not in the data, "
            f"which has {len(self.by_id)} from {known}{', ...' if len(self.by_id) > 3 else ''}. {_IDS}"
        )


def _last_part(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _plain(ids: Any) -> list[Any]:
    """Convert an array or a sequence to a list of Python numbers or strings."""
    return np.asarray(ids).tolist() if isinstance(ids, np.ndarray) else list(ids)
