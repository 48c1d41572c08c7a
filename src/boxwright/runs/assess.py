"""Evaluate a run: metrics and a report on a data set, detections and pictures of files."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boxwright._util.ownership import claim, mark_new_folder
from boxwright._util.yaml_files import format_yaml
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.references import referred_files
from boxwright.data.upright import Exif
from boxwright.environment import Device
from boxwright.errors import DataError, RecipeError
from boxwright.evaluate import (
    MetricsTable,
    detection_metrics,
    save_results,
)
from boxwright.evaluate.thresholds import Thresholds
from boxwright.models.detector import Detector, InferencePrecision, Score
from boxwright.models.selection import EVALUATION_SCORE
from boxwright.own_code import own_modules
from boxwright.recipes import Recipe
from boxwright.recipes.keys import Part
from boxwright.runs import Run
from boxwright.runs.asked import answered, ask, how_many
from boxwright.runs.exported import ExportedModel, load_model
from boxwright.runs.figures import write_figures
from boxwright.runs.finish import Predictions, finish
from boxwright.runs.kept import Say, is_unfinished, keep_detections, path_beside, work_of
from boxwright.runs.outputs import Outputs, Shown, Wanted
from boxwright.runs.predict import predict_dataset, predict_images
from boxwright.runs.splits import split_file_for
from boxwright.runs.thresholds import check_as_predicted, said, scores_said, write_thresholds
from boxwright.runs.videos import is_video
from boxwright.types import Detections

if TYPE_CHECKING:
    from boxwright.runs.page import Compared, Sliced


@dataclass(frozen=True)
class Assessment:
    """A run's results on a data set."""

    dataset: DetectionDataset
    detections: list[Detections]
    """Detections by image, in its pixels, from score 0.001."""
    faults: dict[str, str]
    """Images that couldn't be read, and why; they count as without detections."""
    metrics: MetricsTable
    report: Path
    run: Run
    recipe: Recipe
    """Recipe that it detected by."""
    record: dict[str, Any]
    """The run's, with the command that measured it."""

    def write_page(
        self, *, sliced: Sliced | None = None, compared: Compared | None = None, overwrite: bool = False
    ) -> None:
        """Write the run's page on the split, with slices of it or differences to others where they are given."""
        from boxwright.report import write_report  # here, as predict writes no page
        from boxwright.runs.page import report_of

        content = report_of(self.run, self.recipe, self.record, self.dataset, self.metrics, sliced, compared)
        write_report(self.report, content, overwrite=overwrite)


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
    figures = folder.figures_file(dataset.split)
    outputs = [page, results, partial, figures]
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
    suppressed = _how(nms, nms_agnostic, precision)
    if Path(run).is_dir():
        write_figures(figures, folder, dataset, metrics, suppressed)
    read_as = _read_as({"classes": classes, **reading}, allow_links, group_by, split_file)
    words = [*suppressed, *(["--save-thresholds"] if save_thresholds else []), *_allowed(recipe)]
    record = _with_command(record, _eval_command(run, data, recipe.reader, split, [*read_as, *words]))
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
    formats: Sequence[str] = ("coco",),
    save_images: bool = False,
    save_crops: bool = False,
    save_video: bool = False,
    copy_images: bool = False,
    every: int = 1,
    overwrite: bool = False,
    advance: Callable[[int, int | None], None] = lambda done, total: None,
    say: Say = lambda text: None,
) -> Predictions:
    """Write detections.json (COCO results), images.json (all images with their ids) and what else is asked for.

    What is found is kept as it comes, in detections.part.jsonl: interrupted, the same call goes on where it stopped.
    ``score``: see ``Detector.predict``. ``batch``: inputs at a time, see ``predict_stream``; ``precision``: see
    ``Detector.for_inference``; ``device``: where the network computes, auto: on a GPU where there is one. ``files``
    that are videos by their names count as the images that every so many of their frames are. ``formats``: of coco,
    which is detections.json, csv, yolo and voc; each of the latter has a folder, ``copy_images`` puts the images into
    it too. ``save_images``, ``save_crops``, ``save_video``: drawn images, what lies in the boxes, drawn videos. ``say``
    gets what scores are kept by class, unless one is given, and a line on each file.

    Raises RecipeError; WriteError before anything is predicted where a file would be replaced that boxwright didn't
    write or that may have been corrected, unless it is to ``overwrite`` it, and in any case for one of ``files`` or of
    the run; BoxwrightError for videos without PyAV.
    """
    if isinstance(score, float | int) and not 0 <= score <= 1:
        raise RecipeError(f"Expected a score in 0..1 but got {score}")
    wanted = Wanted(tuple(formats), save_images, save_crops, save_video, copy_images)
    outputs = Outputs(folder, files, wanted, every)
    result = Predictions(folder / "detections.json", folder / "images.json", {})
    partial = path_beside(result.detections)
    inputs = chain(Run.of(run).files, files)
    claim(result.detections, result.images, partial, *outputs.files, overwrite=overwrite, inputs=inputs)
    total = how_many(files, every)
    detector = _load(run, nms=nms, nms_agnostic=nms_agnostic, max_pixels=max_pixels)
    min_scores = detector.min_scores(score)
    for line in scores_said(detector, score):
        say(line)
    work = work_of(detector, files, min_scores) | {"precision": precision, "outputs": repr(wanted), "every": every}
    outputs.check_folders(files, overwrite=overwrite or is_unfinished(partial, work))
    mark_new_folder(folder, "predictions")
    with keep_detections(partial, work, total, say) as kept:
        outputs.begin(detector.classes)
        asked = ask(files, kept.last, every, detector.recipe.max_pixels)
        answers = answered(
            asked,
            lambda images: predict_images(detector, images, min_scores, batch, precision=precision, device=device),
        )
        for each, found in answers:
            about = each.about
            if not isinstance(found, DataError):
                shown = Shown(each, files[each.place], outputs.places[each.place], detector.recipe.pixels)
                about |= {"name": shown.place.image, "size": shown.size}
                outputs.add(shown, found)
            kept.append(str(found) if isinstance(found, DataError) else found, about)
            if each.frame is None:
                say(_outcome(files[each.place], found, detector.classes))
            advance(kept.done, total)
        finish(kept, files, outputs, result, say)
    return result


def _load(run: str | Path, **options: Any) -> Detector | ExportedModel:
    """Load the run's detector, with the given values for recipe keys of prediction."""
    detector = load_model(run)
    detector.recipe = detector.recipe.replace(**{key: value for key, value in options.items() if value is not None})
    return detector


def _outcome(file: Path, found: Detections | DataError, classes: Sequence[str]) -> str:
    """Summarize a file: how many objects of each class were found, or why it was left out."""
    if isinstance(found, DataError):
        return str(found) if is_video(file.name) else f"left out: {found}"  # of a video some may be left in
    counts = np.bincount(np.asarray(found.labels), minlength=len(classes))
    return f"{file}: {', '.join(f'{n} {classes[label]}' for label, n in enumerate(counts) if n) or 'nothing found'}"


def _how(nms: str | None, nms_agnostic: bool | None, precision: InferencePrecision) -> list[str]:
    words = [] if nms is None else ["--nms", nms]
    words += [] if nms_agnostic is None else ["--nms-agnostic" if nms_agnostic else "--nms-per-class"]
    return words + ([] if precision == "float32" else ["--precision", precision])


def _read_as(
    settings: Mapping[str, Any], allow_links: bool, group_by: str | None, split_file: str | Path | None
) -> list[str]:
    """List the words of a command that say how the data is read; ``settings``: recipe keys, None where not given."""
    given = {key: value for key, value in settings.items() if value is not None}
    words = [word for key, value in given.items() for word in ("--set", f"{key}={format_yaml(value)}")]
    words += ["--allow-links"] if allow_links else []
    words += [] if group_by is None else ["--group-by", group_by]
    return words + ([] if split_file is None else ["--split-file", str(split_file)])


def _allowed(recipe: Recipe) -> list[str]:
    """List the words of a command that allow the custom parts' modules that were imported for this one."""
    modules = (module for module in own_modules(recipe.to_dict()) if module in sys.modules)
    return [word for module in modules for word in ("--allow-code", module)]


def _eval_command(run: str | Path, data: str | Path, reader: str, split: str | None, how: Sequence[str]) -> str:
    words = ["boxwright", "eval", str(run), str(data)]
    words += [] if reader == "auto" else ["--reader", reader]
    words += [] if split is None else ["--split", split]
    return shlex.join([*words, *how])


def _with_command(record: dict[str, Any], command: str) -> dict[str, Any]:
    """Add one more of the commands that led to its results to a run's record."""
    return {**record, "commands": [*record.get("origin", {}).get("commands", ()), command]}
