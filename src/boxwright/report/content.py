"""What a report is made of: plain values, so that the page depends on no model, data set or workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

ClassCurve = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Precision, recall and score (n,) by falling score, at IoU 0.5; recall is NaN where the class has no objects."""

Ends = tuple[float, float]
"""Low and high end of an interval; NaN where it isn't known."""


class Bins(Protocol):
    """Detections by bins of their scores, (B,) each."""

    @property
    def score(self) -> NDArray[np.float64]:
        """Mean score; NaN where a bin is empty."""

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share that is right."""

    @property
    def count(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class ErrorRow:
    """A kind of error in the error analysis."""

    dap: float
    """AP50 lost to it."""
    count: int
    """Of all detections, or of all targets."""
    shown: int
    """Where detections below the shown score are left out."""


@dataclass(frozen=True)
class Picture:
    """An image with what was found in it and what is there. Boxes are (n, 4) xyxy pixels of the image."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    boxes: ArrayLike
    labels: ArrayLike
    scores: ArrayLike
    target_boxes: ArrayLike
    target_labels: ArrayLike
    note: str = ""
    """A few words under the picture, after its name: what is wrong in it, say."""


@dataclass(frozen=True)
class ReportData:
    """The content of a report. What is left empty leaves its section out."""

    title: str
    classes: Sequence[str]
    environment: str = ""
    """One line: versions, processor, commit."""
    summary: str = ""
    """A sentence or two under the title."""
    commands: Sequence[str] = ()
    """Command lines that make the run and its results again."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained: "images", "steps", "minutes" ... -> value, shown in this order."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Every resolved key of the recipe."""
    recipe_notes: Mapping[str, str] = field(default_factory=dict)
    """Key -> its meaning, or where its value came from."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The check's report: "images", "boxes", "classes" (name -> boxes, or name -> split -> boxes) and "findings", a
    list of {severity, kind, file, box, message}; any other entry is shown as it is."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    protocols: Mapping[str, str] = field(default_factory=dict)
    """Name of a metric -> the protocol that it follows, shown beside the number."""
    intervals: Mapping[str, Ends] = field(default_factory=dict)
    """Name of a metric -> its 95 % interval, where it has one."""
    warnings: Sequence[str] = ()
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Class -> AP, AP50, AP75 ... and targets, the number of objects; F1 and score, the best F1 and where it is."""
    class_intervals: Mapping[str, Mapping[str, Ends]] = field(default_factory=dict)
    """Class -> its intervals by metric."""
    curves: Mapping[str, ClassCurve] = field(default_factory=dict)
    """By class."""
    shown_score: float | None = None
    """Detections from it up are in the pictures and the confusion matrix."""
    confusion: ArrayLike | None = None
    """(K + 1, K + 1) counts at IoU 0.5, a row a true class, a column a detected one; background, and what wasn't
    detected, last."""
    calibration: Bins | None = None
    calibration_said: str = ""
    """A sentence or two on it."""
    errors: Mapping[str, ErrorRow] = field(default_factory=dict)
    """By kind: classification, localisation, both, duplicate, background, missed, false_positive, false_negative."""
    metrics_csv: Path | None = None
    """Log of the training, see `history.read_history`."""
    worst: Sequence[Picture] = ()
    best: Sequence[Picture] = ()
    pictures: Sequence[Picture] = ()
    """Of the whole split, evenly chosen."""
    files: Mapping[str, Path | str] = field(default_factory=dict)
    """"Model", "Predictions" ... -> where it lies."""
