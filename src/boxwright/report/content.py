"""The content of a report: plain values, so that the page depends on no model, data set or workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

ClassCurve = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Precision, recall and score (n,) by falling score, at IoU 0.5; recall is NaN if the class has no objects."""

Ends = tuple[float, float]
"""Low and high end of an interval; NaN if unknown."""


class Bins(Protocol):
    """Detections by bins of their scores, (B,) each."""

    @property
    def score(self) -> NDArray[np.float64]:
        """The mean score; NaN where a bin is empty."""

    @property
    def precision(self) -> NDArray[np.float64]:
        """The share that is right."""

    @property
    def count(self) -> NDArray[np.int64]:
        """The number of detections in each bin, (B,)."""


class Difference(Protocol):
    """A score minus another; NaN where either is undefined."""

    @property
    def value(self) -> float:
        """The difference itself."""

    @property
    def low(self) -> float:
        """The lower end of its 95 % interval."""

    @property
    def high(self) -> float:
        """The upper end of its 95 % interval."""

    @property
    def p(self) -> float:
        """The p-value, corrected for the number of differences in its family."""

    @property
    def verdict(self) -> str:
        """One of "better", "worse" and "no detectable difference"."""


class Slice(Protocol):
    """A part of the images."""

    @property
    def images(self) -> int:
        """The number of images."""

    @property
    def targets(self) -> int:
        """The number of targets that count."""

    @property
    def AP(self) -> float:
        """The average precision."""

    @property
    def interval(self) -> Ends:
        """The interval of AP."""

    @property
    def difference(self) -> Difference:
        """The difference from the rest of the images."""


@dataclass(frozen=True)
class Comparison:
    """A source of detections compared with another on the same images."""

    families: Sequence[Mapping[str, Difference]]
    """All classes together, then by class, by size and by kind of error: row -> difference."""
    images: Sequence[tuple[str, float]] = ()
    """Names of the images with the largest part in the difference in AP, and that part."""


@dataclass(frozen=True)
class ErrorRow:
    """A kind of error in the error analysis."""

    dap: float
    """AP50 lost to it."""
    count: int
    """Number of detections from their class's threshold up, or of targets."""


@dataclass(frozen=True)
class Picture:
    """An image with detections and targets. Boxes are (n, 4) xyxy pixels of the image."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    boxes: ArrayLike
    labels: ArrayLike
    scores: ArrayLike
    target_boxes: ArrayLike
    target_labels: ArrayLike
    right: ArrayLike = ()
    """(n,) bool, whether a detection matches an object."""
    false: ArrayLike = ()
    """(n,) bool, whether it matches none; for ignored detections neither is true."""
    missed: ArrayLike = ()
    """(m, 4) objects that were not found."""
    note: str = ""
    """A few words under the picture, after its name, such as what is wrong in it."""


@dataclass(frozen=True)
class ReportData:
    """The content of a report. Empty fields leave out their sections."""

    title: str
    classes: Sequence[str]
    environment: str = ""
    """One line: versions, processor, commit."""
    summary: str = ""
    """One sentence under the title: how good, on what data, and the weakest point."""
    trained: str = ""
    """A sentence: what was trained on what data."""
    commands: Sequence[str] = ()
    """Command lines that repeat the run and its results."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the training: "images", "steps", "minutes" ... -> value, in this order."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Every resolved key of the recipe."""
    recipe_notes: Mapping[str, str] = field(default_factory=dict)
    """Key -> its meaning, or the origin of its value."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The check's report: "images", "boxes", "classes" (name -> boxes, or name -> split -> boxes) and "findings", a
    list of {severity, kind, file, box, message}; any other entry is shown unchanged."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    protocols: Mapping[str, str] = field(default_factory=dict)
    """Name of a metric -> the protocol that it follows, shown next to the number."""
    intervals: Mapping[str, Ends] = field(default_factory=dict)
    """Name of a metric -> its 95 % interval, if it has one."""
    certainty: str = ""
    """Uncertainty of AP, in a sentence or two."""
    warnings: Sequence[str] = ()
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Class -> AP, AP50, AP75 and targets, the number of objects; score, its threshold, and precision, recall and F1 at
    the threshold."""
    class_intervals: Mapping[str, Mapping[str, Ends]] = field(default_factory=dict)
    """Class -> its intervals by metric."""
    curves: Mapping[str, ClassCurve] = field(default_factory=dict)
    """Curves by class."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Class -> the score from which its detections are in pictures, error counts and confusion matrix."""
    thresholds_said: str = ""
    """Source of the thresholds."""
    confusion: ArrayLike | None = None
    """(K + 1, K + 1) counts at IoU 0.5, rows are true classes, columns detected ones; background, and targets not
    detected, last."""
    calibration: Bins | None = None
    calibration_said: str = ""
    """A sentence or two on the calibration."""
    errors: Mapping[str, ErrorRow] = field(default_factory=dict)
    """For each: classification, localization, both, duplicate, background, missed, false_positive, false_negative."""
    sliced_by: str = ""
    """The rule that makes the slices."""
    slices: Mapping[str, Slice] = field(default_factory=dict)
    """Slices by name."""
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    """Comparisons by title: "b minus a"."""
    metrics_csv: Path | None = None
    """Log of the training, see `history.read_history`."""
    opening: Sequence[Picture] = ()
    """A row of pictures at the top: right, false and missed objects in a few images."""
    worst: Sequence[Picture] = ()
    best: Sequence[Picture] = ()
    pictures: Sequence[Picture] = ()
    """Pictures of the whole split, evenly chosen."""
    files: Mapping[str, Path | str] = field(default_factory=dict)
    """"Model", "Predictions" ... -> where the file is."""
