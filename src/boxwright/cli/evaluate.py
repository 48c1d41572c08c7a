"""``boxwright eval``: metrics of a run or of a results file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.printing import say
from boxwright._util.writing import write_json
from boxwright.cli.arguments import (
    AgnosticOption,
    AllowCode,
    AllowLinks,
    Classes,
    Data,
    JsonFile,
    MaxPixels,
    NmsOption,
    Overwrite,
    Reader,
    Settings,
    data_options,
    run_there,
)
from boxwright.cli.metrics import render_metrics
from boxwright.cli.progress import bar
from boxwright.errors import RecipeError
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset


def evaluate(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|DETECTIONS.json", callback=run_there, help="A run, or a COCO results file.")
    ],
    data: Data,
    reader: Reader = None,
    split: Annotated[str, typer.Option(help="Split to evaluate on.")] = "test",
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
    allow_links: AllowLinks = False,
    max_pixels: MaxPixels = None,
    nms: NmsOption = None,
    nms_agnostic: AgnosticOption = None,
    json: JsonFile = None,
    save_detections: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the detections as COCO results JSON.")
    ] = None,
    save_targets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write the ground truth as COCO JSON, with the same ids."),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """COCO and VOC metrics of a run, or of anybody's COCO results file."""
    from boxwright.data.layout import check_splits
    from boxwright.data.references import referred_files
    from boxwright.runs import Run

    console = Console()
    options = data_options(settings, classes, max_pixels, reader) | {"allow_links": allow_links}
    is_file = source.suffix == ".json" and not source.is_dir()
    if is_file and (nms is not None or nms_agnostic is not None):
        raise RecipeError("--nms is for runs: the detections of a file are evaluated as they are")
    if options["reader"] is None and not is_file:
        options["reader"] = Run.of(source).recipe.reader_options["reader"]
    finding = {"allow_links": allow_links, "reader": options["reader"]}
    check_splits(data, split, **finding)  # before torch is imported
    outputs = [path for path in (json, save_detections, save_targets) if path]
    _claim(outputs, source, referred_files(data, **finding), is_file, overwrite)
    if is_file:
        table, dataset, kept = _evaluate_file(source, data, split, options)
    else:
        options |= {"nms": nms, "nms_agnostic": nms_agnostic, "overwrite": overwrite}
        table, dataset, kept = _evaluate_run(source, data, split, options, console)
    if left_out := dataset.left_out.summary():
        say(console, left_out, "yellow")
    counts = f"{plural(len(dataset), 'image')}, {plural(len(dataset.boxes), 'box')}"
    say(console, f"split {dataset.split} of {data}: {counts}", "bold")
    render_metrics(table, console)
    if json is not None:
        write_json(json, {"generator": GENERATOR, **table.to_json()})
    _save(kept, dataset, save_detections, save_targets, overwrite)


def _claim(outputs: list[Path], source: Path, data: Iterable[Path], is_file: bool, overwrite: bool) -> None:
    """Before anything is computed."""
    from boxwright.runs import Run

    read: Iterable[Path] = [source] if is_file else Run.of(source).files
    claim(*outputs, overwrite=overwrite, inputs=chain(read, data))


def _save(kept: Any, dataset: DetectionDataset, detections: Path | None, targets: Path | None, overwrite: bool) -> None:
    from boxwright.evaluate import save_results, save_targets

    if detections is not None:
        save_results(detections, kept, dataset, overwrite=overwrite)
    if targets is not None:
        save_targets(targets, dataset, overwrite=overwrite)


def _evaluate_file(source: Path, data: Path, split: str, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Metrics, data set and detections of a results file; torch is never imported."""
    from boxwright.data import read_dataset
    from boxwright.evaluate import detection_metrics, read_results

    unseen = {"depth_range": "image"}  # no pixel is looked at
    dataset = read_dataset(data, split, **(unseen | options))
    detections = read_results(source, dataset)
    return detection_metrics(detections, dataset, dataset.classes), dataset, detections


def _evaluate_run(
    source: Path, data: Path, split: str, options: dict[str, Any], console: Console
) -> tuple[Any, Any, Any]:
    """Metrics, data set and detections of a run, which gets its report."""
    from boxwright.runs.assess import evaluate_run

    with bar("evaluating", console) as advance:
        assessment = evaluate_run(source, data, split, advance=advance, **options)
    for name, fault in assessment.faults.items():
        say(console, f"left out {name}: {fault}", "yellow")
    say(console, f"the report is in {assessment.report}")
    return assessment.metrics, assessment.dataset, assessment.detections
