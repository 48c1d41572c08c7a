"""Detections and targets of a whole split as columns, and functions that make them.

Shape shorthand: N detections, M targets, n images, K classes. Boxes are stored as xywh, float64: COCO's files hold
that form, and only in it are overlaps equal to the reference's to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_CROWD, _DIFFICULT = 1, 2


@dataclass(frozen=True, slots=True)
class DetectionColumns:
    """Detections of a split, one row each, in the given order."""

    image: Ints
    """(N,) index of the image in the data set."""
    label: Ints
    """(N,) 0..K-1."""
    score: Floats
    """(N,)"""
    xywh: Floats
    """(N, 4) pixels of the image as stored."""

    def __len__(self) -> int:
        return len(self.score)

    def xyxy(self) -> Floats:
        """Return the corners (N, 4)."""
        return np.concatenate([self.xywh[:, :2], self.xywh[:, :2] + self.xywh[:, 2:]], axis=1)

    def take(self, rows: Ints | Bools) -> DetectionColumns:
        """Select rows by an index or a mask."""
        return DetectionColumns(self.image[rows], self.label[rows], self.score[rows], self.xywh[rows])


@dataclass(frozen=True, slots=True)
class TargetColumns:
    """Targets of a split, one row each, in the order of the annotations."""

    image: Ints
    """(M,) index of the image in the data set."""
    label: Ints
    """(M,) 0..K-1."""
    xywh: Floats
    """(M, 4)"""
    area: Floats
    """(M,) the annotation's area (of the mask if there is one), which may differ from w * h."""
    crowd: Bools
    """(M,)"""
    difficult: Bools
    """(M,)"""
    image_rank: Ints
    """(n,) rank of each image by its id, which decides between equal scores, as in pycocotools."""

    def __len__(self) -> int:
        return len(self.label)


def to_detections(predictions: Any, *, num_images: int | None = None) -> DetectionColumns:
    """Convert predictions to columns.

    Args:
        predictions: `DetectionColumns` (returned unchanged), or a sequence with one entry per image, each with boxes
            (n, 4) xyxy, scores (n,) and labels (n,) as attributes or keys: numpy arrays, lists or tensors.
        num_images: Number of entries that a sequence must have.

    Raises:
        ValueError: If lengths differ or boxes are not (n, 4).

    Examples:
        >>> image = {"boxes": [[0, 0, 10, 20]], "scores": [0.9], "labels": [0]}
        >>> bw.evaluate.to_detections([image], num_images=1).xywh
        array([[ 0.,  0., 10., 20.]])
    """
    if isinstance(predictions, DetectionColumns):
        return predictions
    entries = list(predictions)
    if num_images not in (None, len(entries)):
        raise ValueError(f"Expected predictions of {num_images} images but got {len(entries)}")
    images, labels, scores, boxes = [], [], [], []
    for place, entry in enumerate(entries):
        box = _boxes(_field(entry, "boxes"), f"predictions[{place}]")
        count = len(box)
        boxes.append(box)
        labels.append(_column(entry, "labels", np.int64, count, f"predictions[{place}]"))
        scores.append(_column(entry, "scores", np.float64, count, f"predictions[{place}]"))
        images.append(np.full(count, place))
    xyxy = _concatenate(boxes, np.float64, (0, 4))
    return DetectionColumns(
        image=_concatenate(images, np.int64),
        label=_concatenate(labels, np.int64),
        score=_concatenate(scores, np.float64),
        xywh=np.column_stack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]]),
    )


def to_targets(targets: Any) -> TargetColumns:
    """Convert targets to columns.

    Args:
        targets: `TargetColumns` (returned unchanged); a `boxwright.data.DetectionDataset`; or a sequence with one entry
            per image, each with boxes (n, 4) xyxy and labels (n,), and optionally crowd, difficult (n,) bool and area
            (n,), as attributes or keys. The default area is w * h.

    Raises:
        ValueError: If lengths differ or boxes are not (n, 4).

    Examples:
        >>> bw.evaluate.to_targets([{"boxes": [[0, 0, 10, 20]], "labels": [0]}]).area
        array([200.])
    """
    if isinstance(targets, TargetColumns):
        return targets
    if hasattr(targets, "offsets"):
        return _from_dataset(targets)
    parts = list(_from_entries(targets))
    images = [np.full(len(part[0]), place) for place, part in enumerate(parts)]
    xyxy, label, crowd, difficult, area = zip(*parts, strict=True) if parts else ((),) * 5
    corners = _concatenate(xyxy, np.float64, (0, 4))
    return TargetColumns(
        image=_concatenate(images, np.int64),
        label=_concatenate(label, np.int64),
        xywh=np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
        area=_concatenate(area, np.float64),
        crowd=_concatenate(crowd, np.bool_),
        difficult=_concatenate(difficult, np.bool_),
        image_rank=np.arange(len(parts)),
    )


def nms_and_topk(detections: DetectionColumns, *, score: float = 0.001, count: int = 100) -> DetectionColumns:
    """Keep what a results file holds: detections from `score` up, the best `count` of each image over all classes.

    Among equal scores the earlier stays. The order is unchanged.

    Examples:
        >>> image = {"boxes": [[0, 0, 10, 20], [0, 0, 10, 10]], "scores": [0.9, 0.0001], "labels": [0, 0]}
        >>> bw.evaluate.nms_and_topk(bw.evaluate.to_detections([image], num_images=1)).score
        array([0.9])
    """
    rows = np.flatnonzero(detections.score >= score)
    order = rows[np.lexsort((-detections.score[rows], detections.image[rows]))]
    kept = order[rank_in_runs(detections.image[order]) < count]
    return detections.take(np.sort(kept))


def rank_in_runs(keys: Ints) -> Ints:
    """Number each entry within its run of equal keys (N,): 7 7 7 2 2 -> 0 1 2 0 1."""
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1)) if len(keys) else np.zeros(0, np.int64)
    lengths = np.diff(starts, append=len(keys))
    ranks: Ints = np.arange(len(keys)) - np.repeat(starts, lengths)
    return ranks


def check_columns(detections: DetectionColumns, targets: TargetColumns, num_classes: int) -> None:
    """Check that metrics can be computed from the columns.

    Raises:
        ValueError: If a label is outside 0..K-1, an image outside the data set, or a number not finite.
    """
    num_images = len(targets.image_rank)
    for what, columns in (("detections", detections), ("targets", targets)):
        label, image = columns.label, columns.image
        if len(label) and (label.min() < 0 or label.max() >= num_classes):
            bad = label[(label < 0) | (label >= num_classes)][0]
            raise ValueError(f"Expected labels of {what} in 0..{num_classes - 1} but got {bad}")
        if len(image) and (image.min() < 0 or image.max() >= num_images):
            raise ValueError(f"Expected {what} of {num_images} images but got one of image {image.max()}")
        if not np.isfinite(columns.xywh).all():
            row = int(np.flatnonzero(~np.isfinite(columns.xywh).all(axis=1))[0])
            raise ValueError(f"Expected finite boxes but got {columns.xywh[row]} in {what}, image {image[row]}")
    if not np.isfinite(detections.score).all():
        row = int(np.flatnonzero(~np.isfinite(detections.score))[0])
        raise ValueError(f"Expected finite scores but got {detections.score[row]} in image {detections.image[row]}")


def _from_dataset(dataset: Any) -> TargetColumns:
    offsets: Ints = np.asarray(dataset.offsets, dtype=np.int64)
    counts = offsets[1:] - offsets[:-1]
    code = np.asarray(dataset.code)
    image_rank = np.empty(len(counts), np.int64)
    image_rank[np.argsort(np.asarray(dataset.image_ids), kind="stable")] = np.arange(len(counts))
    targets = TargetColumns(
        image=np.repeat(np.arange(len(counts)), counts),
        label=np.asarray(dataset.labels, dtype=np.int64),
        xywh=np.asarray(dataset.xywh, dtype=np.float64).reshape(-1, 4),
        area=np.asarray(dataset.areas, dtype=np.float64),
        crowd=code == _CROWD,
        difficult=code == _DIFFICULT,
        image_rank=image_rank,
    )
    regions = getattr(dataset, "regions", None)
    return targets if regions is None else _with_crowds(targets, *regions.by_class(len(dataset.classes)))


def _with_crowds(targets: TargetColumns, image: Ints, boxes: NDArray[np.float32], label: Ints) -> TargetColumns:
    """Append boxes (r, 4) xyxy to the targets, ignored as crowds are."""
    corners = boxes.astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    more = np.ones(len(label), np.bool_)
    return TargetColumns(
        image=np.concatenate([targets.image, image]),
        label=np.concatenate([targets.label, label]),
        xywh=np.concatenate([targets.xywh, np.hstack([corners[:, :2], sides])]),
        area=np.concatenate([targets.area, sides[:, 0] * sides[:, 1]]),
        crowd=np.concatenate([targets.crowd, more]),
        difficult=np.concatenate([targets.difficult, ~more]),
        image_rank=targets.image_rank,
    )


def _from_entries(entries: Any) -> Iterator[tuple[Floats, Ints, Bools, Bools, Floats]]:
    for place, entry in enumerate(entries):
        name = f"targets[{place}]"
        boxes = _boxes(_field(entry, "boxes"), name)
        count = len(boxes)
        sides = boxes[:, 2:] - boxes[:, :2]
        yield (
            boxes,
            _column(entry, "labels", np.int64, count, name),
            _column(entry, "crowd", np.bool_, count, name, np.zeros(count)),
            _column(entry, "difficult", np.bool_, count, name, np.zeros(count)),
            _column(entry, "area", np.float64, count, name, sides[:, 0] * sides[:, 1]),
        )


def _field(entry: Any, name: str) -> Any:
    if isinstance(entry, Mapping):
        return entry.get(name)
    return getattr(entry, name, None)


def _array(value: Any, dtype: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):  # a tensor, recognized by its method so that torch need not be imported
        value = value.detach().cpu()
    return np.asarray(value, dtype=dtype)


def _boxes(value: Any, name: str) -> Floats:
    boxes = _array(() if value is None else value, np.float64)
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"Expected boxes of shape (n, 4) in {name} but got {boxes.shape}")
    return boxes


def _column(
    entry: Any, field: str, dtype: Any, count: int, name: str, default: NDArray[Any] | None = None
) -> NDArray[Any]:
    value = _field(entry, field)
    if value is None:
        if default is None and count:
            raise ValueError(f"Expected {field} in {name} but got none")
        value = np.zeros(count) if default is None else default
    column = _whole(value, field, name) if dtype is np.int64 else _array(value, dtype).reshape(-1)
    if len(column) != count:
        raise ValueError(f"Expected {count} {field} in {name}, one a box, but got {len(column)}")
    return column


def _whole(value: Any, field: str, name: str) -> Ints:
    """Convert to whole numbers."""
    numbers = _array(value, None).reshape(-1)
    if numbers.size and not (np.isfinite(numbers) & (numbers == np.floor(numbers))).all():
        raise ValueError(f"Expected whole numbers for {field} in {name} but got {numbers.dtype} {numbers[:5].tolist()}")
    return numbers.astype(np.int64)


def _concatenate(parts: Sequence[NDArray[Any]], dtype: Any, empty: tuple[int, ...] = (0,)) -> NDArray[Any]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(empty, dtype)
