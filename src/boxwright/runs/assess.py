"""Evaluate a run: metrics and a report on a data set, detections and pictures of files."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from boxwright._util.naming import distinct_names
from boxwright._util.ownership import GENERATOR, MADE_BY, claim, mark_new_folder
from boxwright._util.writing import write_json_list, written_aside
from boxwright.data import DetectionDataset, decode_image, read_dataset
from boxwright.data.references import referred_files
from boxwright.data.upright import Exif
from boxwright.drawing import draw_detections
from boxwright.environment import Device
from boxwright.errors import DataError, RecipeError
from boxwright.evaluate import (
    MetricsTable,
    detection_metrics,
    save_results,
)
from boxwright.evaluate.entries import Entry
from boxwright.evaluate.results import write_entries
from boxwright.evaluate.thresholds import Thresholds
from boxwright.models.detector import Detector, InferencePrecision, Score
from boxwright.models.selection import EVALUATION_SCORE
from boxwright.recipes import Recipe
from boxwright.recipes.keys import Part
from boxwright.report import write_report
from boxwright.runs import Run, load
from boxwright.runs.kept import Say, keep_detections, path_beside, work_of
from boxwright.runs.page import Compared, Sliced, report_of
from boxwright.runs.predict import predict_dataset, predict_files
from boxwright.runs.splits import split_file_for
from boxwright.runs.thresholds import check_as_predicted, said, scores_said, write_thresholds
from boxwright.types import Detections

MAX_JPEG_SIDE = 65_500


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
    run: Run
    recipe: Recipe
    """By which it detected."""
    record: dict[str, Any]
    """The run's, with the command that measured it."""

    def write_page(
        self, *, sliced: Sliced | None = None, compared: Compared | None = None, overwrite: bool = False
    ) -> None:
        """Write the run's page on the split, with slices of it or differences to others where they are given."""
        content = report_of(self.run, self.recipe, self.record, self.dataset, self.metrics, sliced, compared)
        write_report(self.report, content, overwrite=overwrite)


@dataclass(frozen=True)
class Predictions:
    """The predictions for files, and where they were written."""

    detections: Path
    """COCO results."""
    images: Path
    """Each file with its id, the name of its drawing, and what is wrong with it."""
    faults: dict[Path, str]
    """Files that couldn't be read, and why."""


def evaluate_run(
    run: str | Path,
    data: str | Path,
    split: str | None = "test",
    *,
    classes: Sequence[str] | None = None,
    voc_one_based: bool | None = None,
    exif: Exif | None = None,
    depth_range: str | None = None,
    max_pixels: int | None = None,
    reader: Part | None = None,
    allow_links: bool = False,
    group_by: str | None = None,
    split_file: str | Path | None = None,
    nms: str | None = None,
    nms_agnostic: bool | None = None,
    batch: int | None = None,
    precision: InferencePrecision = "float32",
    device: Device = "auto",
    save_thresholds: bool = False,
    overwrite: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
    say: Say = lambda text: None,
) -> Assessment:
    """Detect on a split, measure, keep the detections in the run's predictions/, and write its page on the split.

    What is found is kept as it comes, beside the results: interrupted, the same call goes on where it stopped.
    ``batch``: inputs at a time, see ``predict_stream``. ``precision``: see ``Detector.for_inference``.
    ``device``: where the network computes; auto: on a GPU where there is one. ``group_by``, ``split_file``: as in
    ``read_dataset``; without them the run's own split.json counts, where the data is what it was made of.
    ``save_thresholds``: keep the scores of each class's best F1 as those that the run predicts by.

    Raises DataError, RecipeError and WriteError: files that boxwright didn't write stay, unless it is to ``overwrite``
    them.
    """
    folder = Run.of(run)
    record = folder.record
    reading = {"voc_one_based": voc_one_based, "exif": exif, "depth_range": depth_range, "max_pixels": max_pixels}
    detector = _load(run, nms=nms, nms_agnostic=nms_agnostic, reader=reader, **reading)
    recipe = detector.recipe
    options = recipe.reader_options | {"allow_links": allow_links}
    parted_by = {"group_by": group_by, "split_file": split_file}
    if split_file is None and group_by is None:
        parted_by["split_file"] = split_file_for(folder, data, reader=options["reader"], allow_links=allow_links)
    options |= parted_by
    dataset = read_dataset(data, split, classes=classes or recipe.classes, **options)
    read = referred_files(data, allow_links=allow_links, reader=options["reader"])
    page, results = folder.report_file(dataset.split), folder.results_file(dataset.split)
    partial = path_beside(results)
    outputs = [page, results, partial]
    if save_thresholds:
        check_as_predicted(run, recipe, dataset, nms is not None or nms_agnostic is not None)
        outputs.append(folder.thresholds_file)
    own = (path for path in folder.files if path not in outputs)
    claim(*outputs, overwrite=overwrite, inputs=chain(own, read))
    total = len(dataset)
    work = work_of(detector, map(dataset.path, range(total)), EVALUATION_SCORE) | {"precision": precision}
    with keep_detections(partial, work, total, say) as lines:
        found, faults = predict_dataset(
            detector,
            dataset,
            batch=batch,
            precision=precision,
            device=device,
            kept=lines,
            advance=lambda done: advance(done, total),
        )
        kept = save_results(results, found, dataset, overwrite=overwrite)
    metrics = detection_metrics(kept, dataset, dataset.classes)
    if save_thresholds:
        told = Thresholds.of(metrics.matches, metrics.classes, split=dataset.split or "", default=recipe.score)
        write_thresholds(folder.thresholds_file, told)
        say(said(told))
    how = _how(nms, nms_agnostic, precision) + _parted(group_by, split_file)
    record = _with_command(record, _eval_command(folder, dataset, recipe.reader, split, how))
    assessment = Assessment(dataset, found, faults, metrics, page, folder, recipe, record)
    assessment.write_page(overwrite=overwrite)
    return assessment


def predict_to_folder(
    run: str | Path,
    files: Sequence[Path],
    folder: Path,
    *,
    score: Score | None = None,
    nms: str | None = None,
    nms_agnostic: bool | None = None,
    max_pixels: int | None = None,
    batch: int | None = None,
    precision: InferencePrecision = "float32",
    device: Device = "auto",
    save_images: bool = False,
    overwrite: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
    say: Say = lambda text: None,
) -> Predictions:
    """Write detections.json (COCO results), images.json (all files with their ids) and, if asked, the drawn images.

    What is found is kept as it comes, in detections.part.jsonl: interrupted, the same call goes on where it stopped.
    ``score``: see ``Detector.predict``. ``batch``: inputs at a time, see ``predict_stream``; ``precision``: see
    ``Detector.for_inference``; ``device``: where the network computes, auto: on a GPU where there is one. ``say`` gets
    what scores are kept by class, unless one is given, and a line on each file.

    Raises RecipeError; WriteError before anything is predicted where a file would be replaced that boxwright didn't
    write, unless it is to ``overwrite`` it, and in any case for one of ``files`` or of the run.
    """
    if isinstance(score, float | int) and not 0 <= score <= 1:
        raise RecipeError(f"Expected a score in 0..1 but got {score}")
    names = distinct_names((file.stem for file in files), ".jpg") if save_images else [None] * len(files)
    result = Predictions(folder / "detections.json", folder / "images.json", {})
    partial = path_beside(result.detections)
    drawings = (folder / name for name in names if name)
    inputs = chain(Run.of(run).files, files)
    claim(result.detections, result.images, partial, *drawings, overwrite=overwrite, inputs=inputs)
    detector = _load(run, nms=nms, nms_agnostic=nms_agnostic, max_pixels=max_pixels)
    least = detector.least_scores(score)
    for line in scores_said(detector, score):
        say(line)
    mark_new_folder(folder, "predictions")
    work = work_of(detector, files, least) | {"precision": precision, "pictures": save_images}
    with keep_detections(partial, work, len(files), say) as kept:
        rest = slice(kept.done, None)
        answers = predict_files(detector, files[rest], score=least, batch=batch, precision=precision, device=device)
        for (file, found), name in zip(answers, names[rest], strict=True):
            if name and not isinstance(found, DataError):
                _save_drawing(folder / name, file, found, detector)
            kept.append(str(found) if isinstance(found, DataError) else found)
            say(_outcome(file, found, detector.classes))
            advance(kept.done, len(files))
        result.faults.update((file, found) for file, found in zip(files, kept, strict=True) if isinstance(found, str))
        images = _images(files, names, result.faults)
        pairs = zip(images, kept, strict=True)
        entries = (_entries(image, found, detector.classes) for image, found in pairs if not isinstance(found, str))
        write_entries(result.detections, chain.from_iterable(entries))
        write_json_list(result.images, _images(files, names, result.faults))
    return result


def _load(run: str | Path, **options: Any) -> Detector:
    """Load the run's detector, with other values for the recipe keys of its prediction if given."""
    detector = load(run)
    detector.recipe = detector.recipe.replace(**{key: value for key, value in options.items() if value is not None})
    return detector


def _save_drawing(path: Path, file: Path, found: Detections, detector: Detector) -> None:
    pixels = decode_image(file, detector.recipe.pixels)
    picture = draw_detections(pixels, found.boxes, found.labels, found.scores, detector.classes)
    picture.thumbnail((MAX_JPEG_SIDE, MAX_JPEG_SIDE))
    with written_aside(path) as partial:
        picture.save(partial, "JPEG", quality=92, comment=MADE_BY)


class _Found(Entry, gc=False, kw_only=True):
    """An entry that may have a drawing."""

    drawing: str | msgspec.UnsetType = msgspec.UNSET


def _images(files: Sequence[Path], names: Sequence[str | None], faults: Mapping[Path, str]) -> Iterator[dict[str, Any]]:
    """Build the entries of images.json; the first one names the program that wrote it."""
    for number, (file, name) in enumerate(zip(files, names, strict=True), start=1):
        fault = faults.get(file)
        image = {"image_id": number, "file_name": str(file), "drawing": None if fault else name, "fault": fault}
        yield {"generator": GENERATOR, **image} if number == 1 else image


def _entries(image: dict[str, Any], found: Detections, classes: Sequence[str]) -> Iterator[Entry]:
    corners = found.boxes.double().numpy()
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    for box, label, score in zip(xywh.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True):
        yield _Found(
            image_id=image["image_id"],
            category_id=label + 1,
            bbox=box,
            score=score,
            file_name=image["file_name"],
            category=classes[label],
            drawing=image["drawing"] or msgspec.UNSET,
        )


def _outcome(file: Path, found: Detections | DataError, classes: Sequence[str]) -> str:
    """Summarize a file: how many objects of each class were found, or why it was left out."""
    if isinstance(found, DataError):
        return f"left out: {found}"
    counts = np.bincount(found.labels.numpy(), minlength=len(classes))
    return f"{file}: {', '.join(f'{n} {classes[label]}' for label, n in enumerate(counts) if n) or 'nothing found'}"


def _how(nms: str | None, nms_agnostic: bool | None, precision: InferencePrecision) -> list[str]:
    words = [] if nms is None else ["--nms", nms]
    words += [] if nms_agnostic is None else ["--nms-agnostic" if nms_agnostic else "--nms-per-class"]
    return words + ([] if precision == "float32" else ["--precision", precision])


def _parted(group_by: str | None, split_file: str | Path | None) -> list[str]:
    words = [] if group_by is None else ["--group-by", group_by]
    return words + ([] if split_file is None else ["--split-file", str(split_file)])


def _eval_command(run: Run, dataset: DetectionDataset, reader: str, split: str | None, how: Sequence[str]) -> str:
    words = ["boxwright", "eval", str(run.folder), str(dataset.root)]
    words += [] if reader == "auto" else ["--reader", reader]
    words += [] if split is None else ["--split", split]
    return shlex.join([*words, *how])


def _with_command(record: dict[str, Any], command: str) -> dict[str, Any]:
    """Add one more of the commands that led to its results to a run's record."""
    return {**record, "commands": [*record.get("origin", {}).get("commands", ()), command]}
