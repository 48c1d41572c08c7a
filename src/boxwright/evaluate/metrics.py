"""The table of metrics: COCO's twelve numbers and VOC's two, over all classes and per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from boxwright._util.notebook import html_table, paragraphs
from boxwright.evaluate.coco import CocoScores, coco_scores
from boxwright.evaluate.columns import DetectionColumns, Floats, Ints, TargetColumns, to_detections, to_targets
from boxwright.evaluate.error_types import ErrorCost, error_costs, error_types
from boxwright.evaluate.intervals import (
    RELIABLE_IMAGES,
    Interval,
    ScoreIntervals,
    ends,
    images_with_targets,
    score_intervals,
)
from boxwright.evaluate.matches import AREAS, IOU_THRESHOLDS, MatchTable, match_detections
from boxwright.evaluate.reliability import Reliability, reliability
from boxwright.evaluate.thresholds import f1_score
from boxwright.evaluate.voc import voc_scores
from boxwright.text import decimals, plural

_LOW_SCORE = 0.05
_IGNORED = 'crowd ignored by IoA, difficult and "ignore": 1 ignored'


class OperatingPoint(NamedTuple):
    """The score threshold with the best F1 = 2PR / (P + R) of a class."""

    score: float
    """Detections from this score up are kept; NaN where there is no detection."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class MetricsTable:
    """Numbers in 0..1; NaN where there is no target to find (of that size, or of that class)."""

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    voc07: float
    voc_area: float
    per_class: dict[str, dict[str, float]]
    """Class name -> AP, AP50, AP75, AR100, voc07, voc_area and targets, the number of those that count."""
    protocols: dict[str, str]
    """Name of a number -> the protocol that it follows."""
    protocol: str
    """All protocols in one line."""
    warnings: tuple[str, ...]
    classes: tuple[str, ...]
    matches: MatchTable = field(repr=False)
    """Matches of all detections; every number above is computed from it."""

    @property
    def numbers(self) -> dict[str, float]:
        """Return the fourteen numbers by name, in the order of the fields."""
        return {number.name: getattr(self, number.name) for number in fields(self) if number.name in self.protocols}

    @cached_property
    def errors(self) -> dict[str, ErrorCost]:
        """AP50 lost to each kind of error, see `error_costs`; empty if 0.5 is not among the IoU thresholds."""
        if not self.matches.has_threshold(0.5):
            return {}
        return error_costs(self.matches, error_types(self.matches))

    @property
    def intervals(self) -> dict[str, Interval]:
        """AP, AP50 and AP75 -> the 95 % interval over images, see `score_intervals`."""
        return {metric: found.overall for metric, found in self._score_intervals.items()}

    @property
    def class_intervals(self) -> dict[str, dict[str, Interval]]:
        """Class name -> its intervals by metric."""
        return {
            name: {metric: found.by_class[label] for metric, found in self._score_intervals.items()}
            for label, name in enumerate(self.classes)
        }

    @cached_property
    def calibration(self) -> Reliability | None:
        """Scores against the share that is right, see `reliability`; None if 0.5 is not among the IoU thresholds."""
        return reliability(self.matches) if self.matches.has_threshold(0.5) else None

    @property
    def certainty(self) -> str:
        """Uncertainty of AP, in a sentence or two; empty if it has no interval."""
        images, interval = images_with_targets(self.matches), self.intervals["AP"]
        if np.isnan(interval.low):
            return ""
        said = f"{plural(images, 'image')} with objects: AP is known to ±{interval.reach:.3f} (95 % interval)."
        if images < RELIABLE_IMAGES:
            said += f" With fewer than {RELIABLE_IMAGES} images such an interval is itself a rough guess."
        return said

    @cached_property
    def _score_intervals(self) -> dict[str, ScoreIntervals]:
        return score_intervals(self.matches)

    def _repr_html_(self) -> str:
        found: dict[str, Any] = {"": (self.numbers, self.intervals)}
        found |= {name: (each, self.class_intervals[name]) for name, each in self.per_class.items()}
        rows = [
            [name or "all classes", *(decimals(numbers[metric], *each) for metric, each in intervals.items())]
            for name, (numbers, intervals) in found.items()
        ]
        return html_table(("class", *self.intervals), rows) + paragraphs(self.certainty, *self.warnings)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, `per_class`, `errors` and `intervals`, with None for undefined values."""
        per_class = {name: _without_nan(values) for name, values in self.per_class.items()}
        errors = {name: {**_without_nan({"dAP": cost.dap}), "count": cost.count} for name, cost in self.errors.items()}
        intervals: dict[str, Any] = {metric: ends(interval) for metric, interval in self.intervals.items()}
        intervals["per_class"] = {
            name: {metric: ends(interval) for metric, interval in found.items()}
            for name, found in self.class_intervals.items()
        }
        calibration = None if self.calibration is None else self.calibration.to_json()
        return {
            **_without_nan(self.numbers),
            "per_class": per_class,
            "errors": errors,
            "intervals": intervals,
            "calibration": calibration,
        }

    def precision_recall(self, name: str, iou: float = 0.5) -> tuple[Floats, Floats, Floats]:
        """Compute precision, recall and score (n,) by falling score, over the detections of a class that count (COCO).

        Raises:
            ValueError: If the class is unknown or the IoU is not one of the table's thresholds.
        """
        if name not in self.classes:
            raise ValueError(f"Expected one of the classes {', '.join(self.classes)} but got {name!r}")
        threshold, label = self.matches.threshold(iou), self.classes.index(name)
        rows, table = self.matches.rows(label), self.matches
        counted = ~table.ignored[rows, threshold, 0] & (table.rank[rows] < table.max_detections)
        found = np.cumsum(table.true_positive[rows, threshold, 0][counted])
        positives = int(table.positives[label, 0])
        recall = found / positives if positives else np.full(len(found), np.nan)
        return found / np.arange(1, len(found) + 1), recall, table.score[rows][counted]

    def operating_point(self, name: str, iou: float = 0.5) -> OperatingPoint:
        """Find the score threshold of the best F1 of a class; among equal ones the highest score.

        Raises:
            ValueError: As `precision_recall` does.
        """
        precision, recall, score = self.precision_recall(name, iou)
        last = np.flatnonzero(np.diff(score, append=-np.inf))  # a threshold cannot separate equal scores
        if len(last) == 0 or np.isnan(recall[0]):
            return OperatingPoint(np.nan, np.nan, np.nan, np.nan)
        precision, recall, score = precision[last], recall[last], score[last]
        f1 = f1_score(precision, recall)
        best = int(np.argmax(f1))
        return OperatingPoint(float(score[best]), float(precision[best]), float(recall[best]), float(f1[best]))


def detection_metrics(
    predictions: Any,
    targets: Any,
    classes: Sequence[str],
    *,
    iou_thresholds: Sequence[float] | None = None,
    max_detections: tuple[int, int, int] = (1, 10, 100),
) -> MetricsTable:
    """Compute COCO and VOC metrics of a split.

    COCO's numbers agree with pycocotools to 1e-9 if no target is difficult. A difficult target (of VOC, or with
    "ignore": 1 in COCO's JSON) is ignored: a detection that takes it is neither credited nor penalized, once.
    pycocotools reads no flag but iscrowd, and counts such targets.

    Args:
        predictions: See `columns.to_detections`; boxes xyxy in pixels of the stored image.
        targets: See `columns.to_targets`; as many images as predictions, in the same order.
        classes: The K names, in label order.
        iou_thresholds: Of AP and AR; by default .50:.05:.95. Without .5 and .75 among them AP50 and AP75 are NaN.
        max_detections: Best detections of each image and class for AR1, AR10 and all the others.

    Raises:
        ValueError: If lengths differ, labels or images are out of range, numbers are not finite, or two names are
            equal.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
        >>> found = [{"boxes": [[0, 0, 10, 8]], "scores": [0.9], "labels": [0]}]  # IoU .8
        >>> metrics = bw.evaluate.detection_metrics(found, truth, ["cat"])
        >>> round(metrics.AP50, 2), round(metrics.AP, 2)
        (1.0, 0.7)
    """
    names = tuple(classes)
    if len(set(names)) != len(names):
        raise ValueError(f"Expected classes with different names but got {names}")
    ranks = tuple(sorted(max_detections))
    if len(ranks) != 3 or ranks[0] < 1:
        raise ValueError(f"Expected three positive max_detections but got {max_detections}")
    target_columns = to_targets(targets)
    detection_columns = to_detections(predictions, num_images=len(target_columns.image_rank))
    thresholds = tuple(iou_thresholds) if iou_thresholds is not None else IOU_THRESHOLDS
    matches = match_detections(
        detection_columns, target_columns, len(names), iou_thresholds=thresholds, max_detections=ranks[-1]
    )
    numbers, columns = _numbers(matches, ranks)
    return MetricsTable(
        **numbers,
        per_class={
            name: {key: column[place].item() for key, column in columns.items()} for place, name in enumerate(names)
        },
        protocols=_protocols(matches.iou_thresholds, ranks),
        protocol=_protocol(matches.iou_thresholds, ranks[-1]),
        warnings=tuple(_warnings(detection_columns, target_columns)),
        classes=names,
        matches=matches,
    )


def _numbers(matches: MatchTable, ranks: tuple[int, ...]) -> tuple[dict[str, float], dict[str, Any]]:
    """Compute the fourteen numbers, and the columns (K,) of the table by class."""
    coco, voc = coco_scores(matches, ranks), voc_scores(matches)
    columns = {
        "AP": coco.precision[:, :, 0].mean(axis=1),
        "AP50": _at(coco, matches, 0.5),
        "AP75": _at(coco, matches, 0.75),
        "AR100": coco.recall[:, :, 0, 2].mean(axis=1),
        "voc07": voc.voc07,
        "voc_area": voc.area,
        "targets": matches.positives[:, 0],
    }
    values = {name: columns[name] for name in ("AP", "AP50", "AP75")}
    values |= {f"AP{name[0]}": coco.precision[:, :, area] for area, name in enumerate(AREAS) if area}
    values |= {f"AR{count}": coco.recall[:, :, 0, place] for place, count in enumerate((1, 10, 100))}
    values |= {f"AR{name[0]}": coco.recall[:, :, area, 2] for area, name in enumerate(AREAS) if area}
    values |= {name: columns[name] for name in ("voc07", "voc_area")}
    return {name: _mean(value) for name, value in values.items()}, columns


def _at(coco: CocoScores, matches: MatchTable, iou: float) -> Floats:
    if not matches.has_threshold(iou):
        return np.full(len(coco.precision), np.nan)
    return coco.precision[:, matches.threshold(iou), 0]


def _mean(values: Floats) -> float:
    """Average over the classes where the value is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def _span(thresholds: tuple[float, ...]) -> str:
    return f"IoU {thresholds[0]:.2f}" if len(thresholds) == 1 else f"IoU {thresholds[0]:.2f}:{thresholds[-1]:.2f}"


def _protocol(thresholds: tuple[float, ...], best: int) -> str:
    return (
        f"COCO: {_span(thresholds)}, best {best} of each image and class, sizes s, m, l by the annotation's area up to "
        f"32², 96² px and above; VOC: IoU >= 0.50; {_IGNORED}."
    )


def _protocols(thresholds: tuple[float, ...], ranks: tuple[int, ...]) -> dict[str, str]:
    span, rest = _span(thresholds), _IGNORED

    def coco(iou: str, count: int, area: str) -> str:
        return f"COCO: {iou}, {area}, best {count} of each image and class, {rest}"

    everything, best = "all areas", ranks[-1]
    sizes = {
        "s": "area from the annotation up to 32² px",
        "m": "area from the annotation from 32² to 96² px",
        "l": "area from the annotation from 96² px",
    }
    protocols = {"AP": coco(span, best, everything)}
    protocols |= {f"AP{int(100 * iou)}": coco(f"IoU {iou:.2f}", best, everything) for iou in (0.5, 0.75)}
    protocols |= {f"AP{size}": coco(span, best, text) for size, text in sizes.items()}
    protocols |= {f"AR{count}": coco(span, rank, everything) for count, rank in zip((1, 10, 100), ranks, strict=True)}
    protocols |= {f"AR{size}": coco(span, best, text) for size, text in sizes.items()}
    voc = "IoU >= 0.50 with the best target, no + 1, no limit on detections, difficult ignored, crowd ignored by IoA"
    protocols["voc07"] = f"VOC 2007: 11-point average, {voc}"
    protocols["voc_area"] = f"VOC 2010: area under the curve, {voc}"
    return protocols


def _warnings(detections: DetectionColumns, targets: TargetColumns) -> list[str]:
    if not len(targets):
        return ["No targets: no number is defined."]
    if not len(detections):
        return ["No detections: every number is 0."]
    found = []
    outside = np.flatnonzero((detections.score < 0) | (detections.score > 1))
    if len(outside):
        found.append(_about_scores(detections, outside))
    # An image with a full hundred was cut by number, as the protocols allow: only the others show a threshold
    count = np.bincount(detections.image)[detections.image]
    lowest = float(detections.score[count < 100].min(initial=np.inf))
    if _LOW_SCORE < lowest < np.inf and not len(outside):
        found.append(
            f"Scores start at {lowest:.3g}: detections below it are missing, which cuts AP and AR. "
            "Hand in everything from 0.001 up."
        )
    if np.abs(detections.xywh).max() <= 1.5 < np.abs(targets.xywh).max():
        found.append("No coordinate of a detection is above 1.5: boxes look like fractions, pixels are expected.")
    flat = int((detections.xywh[:, 2:] <= 0).any(axis=1).sum())
    if flat:
        found.append(f"{flat} detections have no area (width or height <= 0) and can't match anything.")
    return found


def _about_scores(detections: DetectionColumns, outside: Ints) -> str:
    lowest, highest = detections.score.min(), detections.score.max()
    kind = "logits" if lowest < 0 else "percentages" if highest <= 100 else "something else"
    first = int(outside[0])
    return (
        f"{len(outside)} scores lie outside 0..1, first {detections.score[first]:.3g} of detection {first} (from 0): "
        f"they look like {kind}. AP depends on their order alone; thresholds and operating points are on their scale."
    )
