"""Put a run to the test: metrics and a report on a data set, detections and pictures of files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxwright.data import DetectionDataset, decode_image, read_dataset
from boxwright.drawing import draw_detections
from boxwright.environment import environment_line
from boxwright.errors import DataError
from boxwright.evaluate import (
    ERROR_TYPES,
    ErrorTable,
    MatchTable,
    MetricsTable,
    confusion_matrix,
    detection_metrics,
    error_costs,
    error_types,
    save_results,
)
from boxwright.models.detector import Detector
from boxwright.predict import predict_dataset, predict_files
from boxwright.recipes import Recipe
from boxwright.report import ErrorRow, Picture, ReportData, write_report
from boxwright.runs import Run, load
from boxwright.types import Detections

PICTURES = 6
"""Images that a report shows of the worst, of the best, and of the whole split."""


@dataclass(frozen=True)
class Assessment:
    """A run's results on a data set."""

    dataset: DetectionDataset
    detections: list[Detections]
    """By image, in its pixels, from score 0.001."""
    faults: dict[str, str]
    """Images that couldn't be read, and why; they count as without detections."""
    metrics: MetricsTable
    report: Path


def evaluate_run(
    run: str | Path,
    data: str | Path,
    split: str | None = "test",
    *,
    classes: Sequence[str] | None = None,
    voc_one_based: bool | None = None,
    nms: str | None = None,
    nms_agnostic: bool | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Assessment:
    """Detect on a split, measure, keep the detections in the run's predictions/, and write its report.html.

    Raises DataError and RecipeError.
    """
    detector = _load(run, nms=nms, nms_agnostic=nms_agnostic)
    recipe = detector.recipe
    dataset = read_dataset(
        data,
        split,
        classes=classes or recipe.classes,
        voc_one_based=recipe.voc_one_based if voc_one_based is None else voc_one_based,
    )
    total = len(dataset)
    found, faults = predict_dataset(detector, dataset, advance=lambda done: advance(done, total))
    folder = Run.of(run)
    folder.predictions.mkdir(exist_ok=True)
    kept = save_results(folder.predictions / f"{split or 'all'}.json", found, dataset)
    metrics = detection_metrics(kept, dataset, dataset.classes)
    command = _eval_command(folder, dataset, split, nms, nms_agnostic)
    report = _write_report(folder, recipe, dataset, found, metrics, command)
    return Assessment(dataset, found, faults, metrics, report)


def predict_to_folder(
    run: str | Path,
    files: Sequence[Path],
    folder: Path,
    *,
    score: float | None = None,
    nms: str | None = None,
    nms_agnostic: bool | None = None,
    save_images: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Write detections.json (COCO results) and, if asked, the drawn images; a line on each file, faults included."""
    detector = _load(run, nms=nms, nms_agnostic=nms_agnostic)
    folder.mkdir(parents=True, exist_ok=True)
    names = _drawing_names(files)
    entries: list[dict[str, Any]] = []
    lines = []
    for place, (file, found) in enumerate(predict_files(detector, files, score=score)):
        if isinstance(found, DataError):
            lines.append(f"left out: {found}")
        else:
            entries += _entries(place + 1, file, found, detector.classes)
            lines.append(f"{file}: {_count(found, detector.classes)}")
            if save_images:
                _draw(file, found, detector).save(folder / names[place], quality=92)
        advance(place + 1, len(files))
    (folder / "detections.json").write_text(json.dumps(entries), encoding="utf-8")
    return lines


def _load(run: str | Path, **options: Any) -> Detector:
    """The run's detector, with other values for the recipe keys of its prediction, where they are given."""
    detector = load(run)
    detector.recipe = detector.recipe.replace(**{key: value for key, value in options.items() if value is not None})
    return detector


def _drawing_names(files: Sequence[Path]) -> list[str]:
    """A file name for each drawing, unlike any other's: numbered where two sources share theirs."""
    names: list[str] = []
    for file in files:
        name, number = f"{file.stem}.jpg", 1
        while name in names:
            number += 1
            name = f"{file.stem}-{number}.jpg"
        names.append(name)
    return names


def _draw(file: Path, found: Detections, detector: Detector) -> Any:
    image = decode_image(file)
    return draw_detections(image, found.boxes, found.labels, found.scores, detector.classes)


def _entries(image_id: int, file: Path, found: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    corners = found.boxes.double().numpy()
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [
        {
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": box,
            "score": score,
            "file_name": str(file),
            "category": classes[label],
        }
        for box, label, score in zip(xywh.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    ]


def _count(found: Detections, classes: Sequence[str]) -> str:
    counts = np.bincount(found.labels.numpy(), minlength=len(classes))
    return ", ".join(f"{n} {classes[label]}" for label, n in enumerate(counts) if n) or "nothing found"


def _eval_command(
    run: Run, dataset: DetectionDataset, split: str | None, nms: str | None, nms_agnostic: bool | None
) -> str:
    words = ["boxwright", "eval", str(run.folder), str(dataset.root)]
    words += [] if split is None else ["--split", split]
    words += [] if nms is None else ["--nms", nms]
    words += [] if nms_agnostic is None else ["--nms-agnostic" if nms_agnostic else "--nms-per-class"]
    return shlex.join(words)


def _write_report(
    run: Run,
    recipe: Recipe,
    dataset: DetectionDataset,
    found: list[Detections],
    metrics: MetricsTable,
    command: str,
) -> Path:
    known = json.loads(run.data_file.read_text(encoding="utf-8")) if run.data_file.is_file() else {}
    training = known.get("training", {})
    shown = error_types(metrics.matches, score=recipe.score)
    data = ReportData(
        title=f"{recipe.detector} on {dataset.root.resolve().name}",
        classes=dataset.classes,
        environment=environment_line(),
        summary=_summary(training, metrics, dataset),
        commands=[*known.get("origin", {}).get("commands", ()), command],
        training=training,
        recipe=recipe.to_dict(),
        recipe_notes=recipe.notes(),
        data=known.get("data", {}),
        metrics=metrics.numbers,
        protocols=metrics.protocols,
        warnings=metrics.warnings,
        per_class=_per_class(metrics),
        curves={name: metrics.precision_recall(name) for name in metrics.classes},
        shown_score=recipe.score,
        confusion=confusion_matrix(metrics.matches, recipe.score),
        errors=_errors(metrics, shown),
        metrics_csv=run.metrics_file if run.metrics_file.is_file() else None,
        **_chosen_pictures(dataset, found, metrics, shown),
        files={"Model": run.model_file, "Predictions": run.predictions},
    )
    return write_report(run.report_file, data)


def _summary(training: dict[str, Any], metrics: MetricsTable, dataset: DetectionDataset) -> str:
    """What was trained on what, as far as it is known, and how good it is."""
    result = f"AP {metrics.AP:.3f}, AP50 {metrics.AP50:.3f} on the {len(dataset)} images of {_split(dataset.split)}."
    if "steps" not in training:
        return result
    return (
        f"Trained on the {training['images']} images of {_split(training['split'])} "
        f"for {training['steps']} steps, {training['minutes of steps']:.1f} minutes; {result}"
    )


def _split(name: str | None) -> str:
    return f"split {name}" if name else "the data set"


def _per_class(metrics: MetricsTable) -> dict[str, dict[str, float]]:
    """The table by class, with the best F1 and its score."""
    points = {name: metrics.operating_point(name) for name in metrics.classes}
    return {
        name: {**row, "F1": points[name].f1, "score": points[name].score} for name, row in metrics.per_class.items()
    }


def _errors(metrics: MetricsTable, shown: ErrorTable) -> dict[str, ErrorRow]:
    """What each kind of error costs; how often it comes up in all detections, and in those ``shown``."""
    costs = error_costs(metrics.matches, shown)
    return {name: ErrorRow(cost.dap, cost.count, costs[name].count) for name, cost in metrics.errors.items()}


def _by_image(table: MatchTable, errors: ErrorTable, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 6) errors of each image by kind, and (n,) detections that are right."""
    counts = np.zeros((images, len(ERROR_TYPES)), np.int64)
    wrong = errors.kind >= 0
    np.add.at(counts, (table.image[wrong], errors.kind[wrong].astype(np.int64)), 1)
    counts[:, ERROR_TYPES.index("missed")] = np.bincount(table.targets.image[errors.missed], minlength=images)
    return counts, np.bincount(table.image[table.right(0.5, errors.score)], minlength=images)


def _note(counts: NDArray[np.int64]) -> str:
    """ "2 background, 1 missed", or that all is right."""
    return ", ".join(f"{n} {name}" for n, name in zip(counts.tolist(), ERROR_TYPES, strict=True) if n) or "all right"


def _chosen_pictures(
    dataset: DetectionDataset, found: list[Detections], metrics: MetricsTable, errors: ErrorTable
) -> dict[str, list[Picture]]:
    """The images with the most mistakes, those with the fewest and then the most found, and some evenly chosen."""
    mistakes, hits = _by_image(metrics.matches, errors, len(dataset))
    number = mistakes.sum(axis=1)
    worst = np.argsort(-number, kind="stable")[:PICTURES]
    best = np.lexsort((-hits, number))[:PICTURES]
    spread = np.linspace(0, len(dataset) - 1, min(PICTURES, len(dataset))).round().astype(int)
    chosen = {"worst": worst[number[worst] > 0], "best": best[hits[best] > 0], "pictures": spread}
    notes = [_note(row) for row in mistakes]
    return {name: _pictures(dataset, found, places, errors.score, notes) for name, places in chosen.items()}


def _pictures(
    dataset: DetectionDataset,
    found: list[Detections],
    places: NDArray[np.int64],
    score: float,
    notes: Sequence[str],
) -> list[Picture]:
    """Pictures of those images that can be read. ``notes`` has one for each image of the data set."""
    pictures = []
    for place in places.tolist():
        try:
            image = decode_image(dataset.path(place))
        except DataError:
            continue
        shown = found[place].scores >= score
        boxes, labels, _ = dataset.target(place)
        pictures.append(
            Picture(
                name=dataset.name(place),
                image=image,
                boxes=found[place].boxes[shown],
                labels=found[place].labels[shown],
                scores=found[place].scores[shown],
                target_boxes=boxes,
                target_labels=labels,
                note=notes[place],
            )
        )
    return pictures
