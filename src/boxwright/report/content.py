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


class Difference(Protocol):
    """A score less another; NaN where either isn't defined."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float:
        """Lower end of its 95 % interval."""

    @property
    def high(self) -> float: ...
    @property
    def p(self) -> float:
        """Corrected for the number of differences that it was judged with."""

    @property
    def verdict(self) -> str:
        """ "better", "worse" or "no detectable difference"."""


class Slice(Protocol):
    """A part of the images."""

    @property
    def images(self) -> int: ...
    @property
    def targets(self) -> int:
        """Those that count."""

    @property
    def AP(self) -> float: ...
    @property
    def interval(self) -> Ends: ...
    @property
    def difference(self) -> Difference:
        """To the rest of the images."""


@dataclass(frozen=True)
class Comparison:
    """A source of detections held against another on the same images."""

    families: Sequence[Mapping[str, Difference]]
    """Of all classes together, then by class, by size, by kind of error: row -> difference."""
    images: Sequence[tuple[str, float]] = ()
    """Names of the images that decide, and their part in the difference in AP."""


@dataclass(frozen=True)
class ErrorRow:
    """A kind of error in the error analysis."""

    dap: float
    """AP50 lost to it."""
    count: int
    """Of the detections from their class's threshold up, or of the targets."""


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
    right: ArrayLike = ()
    """(n,) bool, whether a box has an object."""
    false: ArrayLike = ()
    """(n,) bool, whether it has none; neither is true of what is ignored."""
    missed: ArrayLike = ()
    """(m, 4) objects that weren't found."""
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
    """One sentence under the title: how good, on what, and what is weakest."""
    trained: str = ""
    """A sentence: what was trained on what."""
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
    certainty: str = ""
    """How well AP is known, in a sentence or two."""
    warnings: Sequence[str] = ()
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Class -> AP, AP50, AP75 and targets, the number of objects; score, its threshold, and precision, recall and F1
    there."""
    class_intervals: Mapping[str, Mapping[str, Ends]] = field(default_factory=dict)
    """Class -> its intervals by metric."""
    curves: Mapping[str, ClassCurve] = field(default_factory=dict)
    """By class."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Class -> the score from which its detections are in the pictures, the errors' counts and the confusion matrix."""
    thresholds_said: str = ""
    """Whose they are."""
    confusion: ArrayLike | None = None
    """(K + 1, K + 1) counts at IoU 0.5, a row a true class, a column a detected one; background, and what wasn't
    detected, last."""
    calibration: Bins | None = None
    calibration_said: str = ""
    """A sentence or two on it."""
    errors: Mapping[str, ErrorRow] = field(default_factory=dict)
    """By kind: classification, localisation, both, duplicate, background, missed, false_positive, false_negative."""
    sliced_by: str = ""
    """The rule of the slices."""
    slices: Mapping[str, Slice] = field(default_factory=dict)
    """By name."""
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    """By title: "b less a"."""
    metrics_csv: Path | None = None
    """Log of the training, see `history.read_history`."""
    opening: Sequence[Picture] = ()
    """A row at the top: what is right, false and missed in a few images."""
    worst: Sequence[Picture] = ()
    best: Sequence[Picture] = ()
    pictures: Sequence[Picture] = ()
    """Of the whole split, evenly chosen."""
    files: Mapping[str, Path | str] = field(default_factory=dict)
    """"Model", "Predictions" ... -> where it lies."""
