"""The content of a run's page on a split: its numbers, the scores from which detections count, and the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.data import DetectionDataset
from boxwright.environment import environment_line
from boxwright.errors import DataError
from boxwright.evaluate import (
    ERROR_TYPES,
    ErrorTable,
    MatchTable,
    MetricsTable,
    PairedComparison,
    Reliability,
    Slice,
    confusion_matrix,
    error_costs,
    error_types,
)
from boxwright.recipes import Recipe
from boxwright.report import Comparison, ErrorRow, Picture, ReportData
from boxwright.runs.run import Run
from boxwright.text import plural

PICTURES = 6
"""Images that a report shows of the worst, of the best, and of the whole split."""
_OPENING = 2  # images of the row at the top that are typical, and as many of the worst
_SUMS = ("false_positive", "false_negative")  # of several kinds of error


class Sliced(NamedTuple):
    """The parts of a split, and the rule that made them."""

    rule: str
    slices: Mapping[str, Slice]


class Compared(NamedTuple):
    """Sources against the first of them, on one split."""

    first: str
    others: Mapping[str, PairedComparison]


def report_of(
    run: Run,
    recipe: Recipe,
    record: Mapping[str, Any],
    dataset: DetectionDataset,
    metrics: MetricsTable,
    sliced: Sliced | None = None,
    compared: Compared | None = None,
) -> ReportData:
    """Collect everything that the page says about a run on a split.

    ``recipe``: by which it detected. ``record``: the run's, with the commands that led to the results.
    """
    training = record.get("training", {})
    min_scores, thresholds_said = counted_scores(run, metrics, recipe.score)
    shown = error_types(metrics.matches, score=min_scores)
    return ReportData(
        title=f"{recipe.detector} on {dataset.root.resolve().name}",
        classes=dataset.classes,
        environment=environment_line(),
        summary=headline(metrics, dataset),
        trained=_trained(training),
        commands=record["commands"],
        training=training,
        recipe=recipe.to_dict(),
        recipe_notes=recipe.notes(),
        data=record.get("data", {}),
        metrics=metrics.numbers,
        protocols=metrics.protocols,
        intervals=metrics.intervals,
        certainty=metrics.certainty,
        warnings=metrics.warnings,
        per_class=_per_class(metrics, min_scores),
        class_intervals=metrics.class_intervals,
        curves={name: metrics.precision_recall(name) for name in metrics.classes},
        thresholds=dict(zip(metrics.classes, min_scores.tolist(), strict=True)),
        thresholds_said=thresholds_said,
        confusion=confusion_matrix(metrics.matches, min_scores),
        errors=_errors(metrics, shown),
        sliced_by=sliced.rule if sliced else "",
        slices=sliced.slices if sliced else {},
        comparisons=_comparisons(compared, dataset) if compared else {},
        calibration=metrics.calibration,
        calibration_said=_calibration_said(metrics.calibration),
        metrics_csv=run.metrics_file if run.metrics_file.is_file() else None,
        **_chosen_pictures(dataset, metrics, shown),
        files={"Model": run.model_file, "Predictions": run.predictions},
    )


def counted_scores(run: Run, metrics: MetricsTable, default: float) -> tuple[NDArray[np.float64], str]:
    """Choose each class's score (K,) from which the page counts detections, and explain it in a sentence.

    It is the one that ``predict`` uses if a validation measured the run's thresholds, else the best on these images.
    """
    kept = run.thresholds if run.recipe_file.is_file() else None
    if kept is not None and kept.images and kept.classes.keys() >= set(metrics.classes):
        scores = np.array([kept.classes[name].score for name in metrics.classes], np.float64)
        split = f"split {kept.split}" if kept.split else "the validation"
        return scores, (
            f"Counted are the detections that predict keeps: above each class's score of the best F1 on {split} "
            "(thresholds.json)."
        )
    return best_scores(metrics, default), (
        "Counted are detections from the score of their class's best F1 on these very images, the best that a "
        f"threshold can do here ({default:g}, the recipe's, where nothing of a class is found)."
    )


def best_scores(metrics: MetricsTable, default: float) -> NDArray[np.float64]:
    """Find the score (K,) of each class's best F1, or the default if nothing of a class is found at any score."""
    points = [metrics.operating_point(name) for name in metrics.classes]
    return np.array([point.score if point.f1 > 0 else default for point in points], np.float64)


def headline(metrics: MetricsTable, dataset: DetectionDataset) -> str:
    """Say in one sentence how good the run is, on what, and which class and kind of error cost most."""
    where = f"{plural(len(dataset), 'image')}" if not dataset.split else plural(len(dataset), f"{dataset.split} image")
    if isnan(metrics.AP):
        return f"No number is defined: nothing is there to find on {where}."
    interval = metrics.intervals["AP"]
    ends = "" if isnan(interval.low) else f" [{interval.low:.3f}, {interval.high:.3f}]"
    said = f"AP {metrics.AP:.3f}{ends} on {where}"
    if not len(metrics.matches.score):
        return f"{said}: nothing was found."
    more = []
    scores = {name: row["AP"] for name, row in metrics.per_class.items() if not isnan(row["AP"])}
    if len(scores) > 1:
        weakest = min(scores, key=lambda name: scores[name])
        objects = plural(int(metrics.per_class[weakest]["targets"]), "object")
        more.append(f"the weakest class is {weakest} ({scores[weakest]:.3f}, {objects})")
    costs = {name: cost.dap for name, cost in metrics.errors.items() if name not in _SUMS}
    worst = max(costs, key=lambda name: costs[name])
    if costs[worst] >= 5e-4:
        more.append(f"most is lost to {_ERROR_NAMES[worst]} ({costs[worst]:.3f} of AP50)")
    return f"{said}: {', and '.join(more)}." if more else f"{said}."


_ERROR_NAMES = {
    "classification": "wrong classes",
    "localization": "localization",
    "both": "boxes of a wrong class that are far off too",
    "duplicate": "duplicates",
    "background": "detections of the background",
    "missed": "missed objects",
}


def _trained(training: Mapping[str, Any]) -> str:
    """Describe what was trained on what, as far as it is known."""
    if "steps" not in training:
        return ""
    split = f"split {training['split']}" if training["split"] else "the data set"
    return (
        f"Trained on the {plural(training['images'], 'image')} of {split} for {plural(training['steps'], 'step')}, "
        f"{training['minutes of steps']:.1f} minutes."
    )


def _per_class(metrics: MetricsTable, min_scores: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Build the table by class, with precision, recall and F1 of the detections from ``min_scores`` (K,) up."""
    return {
        name: {**metrics.per_class[name], "score": score, **_at(metrics, name, score)}
        for name, score in zip(metrics.classes, min_scores.tolist(), strict=True)
    }


def _at(metrics: MetricsTable, name: str, score: float) -> dict[str, float]:
    precision, recall, scores = metrics.precision_recall(name)
    number = int((scores >= score).sum())
    if not number or isnan(recall[0]):
        return {}
    at = float(precision[number - 1]), float(recall[number - 1])
    return {"precision": at[0], "recall": at[1], "F1": 2 * at[0] * at[1] / (sum(at) or 1.0)}


def _errors(metrics: MetricsTable, shown: ErrorTable) -> dict[str, ErrorRow]:
    """Collect each kind of error: its cost at all scores, and its number among the detections ``shown``."""
    costs = error_costs(metrics.matches, shown)
    return {name: ErrorRow(cost.dap, costs[name].count) for name, cost in metrics.errors.items()}


def _comparisons(compared: Compared, dataset: DetectionDataset) -> dict[str, Comparison]:
    return {
        f"{name} less {compared.first}": Comparison(
            (
                found.overall,
                {f"AP {label}": each for label, each in found.by_class.items()},
                found.by_size,
                {f"lost to {kind.replace('_', ' ')}": each for kind, each in found.by_error.items()},
            ),
            [(dataset.name(place), part) for place, part in found.images],
        )
        for name, found in compared.others.items()
    }


def _calibration_said(found: Reliability | None) -> str:
    """Describe the calibration error for the report."""
    if found is None or np.isnan(found.ece):
        return ""
    low, high = found.interval
    return (
        f"Expected calibration error {found.ece:.3f} [{low:.3f}, {high:.3f}], of scores from {found.min_score:g} up: "
        "by so much they miss the share that is right, on average. Below the dashed line scores promise too much, "
        "above it too little; larger points stand for more detections."
    )


def _by_image(table: MatchTable, errors: ErrorTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count each image's errors by kind, (n, 6), and right detections, (n,)."""
    images = len(table.targets.image_rank)
    counts = np.zeros((images, len(ERROR_TYPES)), np.int64)
    wrong = errors.kind >= 0
    np.add.at(counts, (table.image[wrong], errors.kind[wrong].astype(np.int64)), 1)
    counts[:, ERROR_TYPES.index("missed")] = np.bincount(table.targets.image[errors.missed], minlength=images)
    return counts, np.bincount(table.image[table.right(0.5, errors.score)], minlength=images)


def _note(counts: NDArray[np.int64]) -> str:
    """Count the errors, as in "2 background, 1 missed", or say "all right"."""
    return ", ".join(f"{n} {name}" for n, name in zip(counts.tolist(), ERROR_TYPES, strict=True) if n) or "all right"


def _chosen_pictures(dataset: DetectionDataset, metrics: MetricsTable, errors: ErrorTable) -> dict[str, list[Picture]]:
    """Choose the images with the most mistakes, those with the fewest and then the most found, and some others evenly.

    The row at the top has two of the middle of all by their mistakes, and two of the worst.
    """
    table = metrics.matches
    mistakes, hits = _by_image(table, errors)
    number = mistakes.sum(axis=1)
    worst = np.argsort(-number, kind="stable")
    worst = worst[number[worst] > 0]
    best = np.lexsort((-hits, number))[:PICTURES]
    chosen = {
        "opening": _opening(worst, number, hits),
        "worst": worst[:PICTURES],
        "best": best[hits[best] > 0],
        "pictures": np.linspace(0, len(dataset) - 1, min(PICTURES, len(dataset))).round().astype(int),
    }
    drawer = _Drawer(dataset, metrics, errors, [_note(row) for row in mistakes])
    return {name: drawer.pictures(places) for name, places in chosen.items()}


def _opening(worst: NDArray[np.int64], mistakes: NDArray[np.int64], hits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose images around the median of mistakes (n,), among those with anything to see, then the worst ones."""
    last = worst[:_OPENING]
    others = np.setdiff1d(np.flatnonzero(mistakes + hits), last)
    order = others[np.lexsort((others, mistakes[others]))]
    start = max((len(order) - _OPENING + 1) // 2, 0)
    return np.concatenate([order[start : start + _OPENING], last])


class _Drawer(NamedTuple):
    """Draws pictures of images."""

    dataset: DetectionDataset
    metrics: MetricsTable
    errors: ErrorTable
    notes: Sequence[str]
    """(n,)"""

    def pictures(self, places: NDArray[np.int64]) -> list[Picture]:
        """Draw the images that can be read."""
        found = (self._picture(place) for place in places.tolist())
        return [picture for picture in found if picture is not None]

    def _picture(self, place: int) -> Picture | None:
        try:
            pixels = self.dataset.decode(place)
        except DataError:
            return None
        table, score = self.metrics.matches, self.errors.score
        rows = np.flatnonzero((table.image == place) & table.from_score(score))
        rows = rows[np.argsort(-table.score[rows], kind="stable")]
        missed = np.flatnonzero((table.targets.image == place) & table.not_found(0.5, score))
        boxes, labels, _ = self.dataset.target(place)
        return Picture(
            name=self.dataset.name(place),
            image=pixels,
            boxes=_corners(table.xywh[rows]),
            labels=table.label[rows],
            scores=table.score[rows],
            target_boxes=boxes,
            target_labels=labels,
            right=table.right(0.5, score)[rows],
            false=table.wrong(0.5, score)[rows],
            missed=_corners(table.targets.xywh[missed]),
            note=self.notes[place],
        )


def _corners(xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
