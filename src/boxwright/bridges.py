"""Detections as other libraries take them: supervision, pandas, COCO's results, FiftyOne.

Each takes whatever has ``boxes`` (n, 4) xyxy in pixels, ``scores`` (n,) and ``labels`` (n,), of torch or of numpy.
Labels alone know no names: ``classes`` has them, ``detector.classes`` as a rule. Packages are imported on the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from boxwright.errors import BoxwrightError


class Found(Protocol):
    """Detections of one image."""

    @property
    def boxes(self) -> Any:
        """(n, 4) xyxy."""

    @property
    def scores(self) -> Any:
        """(n,)."""

    @property
    def labels(self) -> Any:
        """(n,), 0..K-1."""


class _Columns(NamedTuple):
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str] | None


def xywh(found: Found) -> NDArray[np.float64]:
    """(n, 4) left, top, width and height of the boxes."""
    corners = np.asarray(found.boxes, np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def to_coco(
    found: Found,
    image_id: int | str,
    classes: Sequence[str] | None = None,
    *,
    category_ids: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Make the entries of a COCO results file, numbers to the last bit.

    ``category_ids`` (K,): the data set's own; None: label + 1. With ``classes`` each entry has its ``category`` too, by
    which ``boxwright eval`` finds the class whatever its id. Raises ValueError for labels beyond either.
    """
    columns = _columns(found, classes)
    _check(columns.labels, category_ids)
    ids = columns.labels + 1 if category_ids is None else np.asarray(category_ids)[columns.labels]
    rows = zip(ids.tolist(), xywh(found).tolist(), columns.scores.tolist(), strict=True)
    entries = [{"image_id": image_id, "category_id": key, "bbox": box, "score": score} for key, box, score in rows]
    if columns.names is not None:
        return [{**entry, "category": name} for entry, name in zip(entries, columns.names, strict=True)]
    return entries


def to_pandas(found: Found, classes: Sequence[str] | None = None) -> Any:
    """Make a pandas DataFrame of x1, y1, x2, y2, score and label, with ``classes`` of class too, a row a detection.

    Raises ValueError for labels beyond ``classes``, BoxwrightError where pandas isn't installed.
    """
    pandas = _imported("pandas")
    columns = _columns(found, classes)
    table: dict[str, Any] = {name: columns.boxes[:, place] for place, name in enumerate(("x1", "y1", "x2", "y2"))}
    table |= {"score": columns.scores, "label": columns.labels}
    return pandas.DataFrame(table if columns.names is None else {**table, "class": columns.names})


def to_supervision(found: Found, classes: Sequence[str] | None = None) -> Any:
    """Make supervision's ``Detections``, with ``classes`` with the names that its annotators write.

    Raises ValueError for labels beyond ``classes``, BoxwrightError where supervision isn't installed.
    """
    supervision = _imported("supervision")
    columns = _columns(found, classes)
    data = {} if columns.names is None else {"class_name": np.array(columns.names, dtype=np.str_)}
    return supervision.Detections(
        xyxy=columns.boxes, confidence=columns.scores, class_id=columns.labels.astype(int), data=data
    )


def to_fiftyone(
    found: Found, file: str | Path, size: tuple[int, int], classes: Sequence[str], *, field: str = "predictions"
) -> Any:
    """Make a FiftyOne ``Sample`` of the image ``file`` of ``size`` (H, W), with the detections in one of its fields.

    Raises ValueError for labels beyond ``classes`` and a size below 1, BoxwrightError where fiftyone isn't installed.
    """
    fiftyone = _imported("fiftyone")
    columns = _columns(found, classes)
    height, width = size
    if min(size) < 1:
        raise ValueError(f"Expected a size (H, W) of at least 1 but got {size}")
    shares = (xywh(found) / (width, height, width, height)).tolist()
    rows = zip(columns.names or [], shares, columns.scores.tolist(), strict=True)
    each = [fiftyone.Detection(label=name, bounding_box=box, confidence=score) for name, box, score in rows]
    sample = fiftyone.Sample(filepath=str(file))
    sample[field] = fiftyone.Detections(detections=each)
    return sample


def _columns(found: Found, classes: Sequence[str] | None) -> _Columns:
    labels = np.asarray(found.labels, np.int64).reshape(-1)
    _check(labels, classes)
    return _Columns(
        np.asarray(found.boxes, np.float32).reshape(-1, 4).copy(),  # a change of what is made is none of what was found
        np.asarray(found.scores, np.float32).reshape(-1).copy(),
        labels.copy(),
        None if classes is None else [classes[label] for label in labels.tolist()],
    )


def _check(labels: NDArray[np.int64], each: Sequence[Any] | None) -> None:
    """Raise ValueError unless there is one of ``each`` for every label."""
    if each is not None and len(labels) and not 0 <= labels.min() <= labels.max() < len(each):
        raise ValueError(f"Expected labels in 0..{len(each) - 1} but got {labels.min()}..{labels.max()}")


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise BoxwrightError(f"{package} isn't installed: pip install {package}") from None
