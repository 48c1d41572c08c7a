"""``boxwright eval``: metrics of a run or of a results file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console

from boxwright._util.ownership import claim
from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright.cli.arguments import (
    AgnosticOption,
    AllowCode,
    AllowLinks,
    Batch,
    Classes,
    Data,
    GroupBy,
    InPrecision,
    MaxPixels,
    NmsOption,
    OnDevice,
    Overwrite,
    Reader,
    Settings,
    SplitFile,
    batch_size,
    data_options,
    run_there,
)
from boxwright.cli.completion import complete_run
from boxwright.cli.metrics import render_differences, render_metrics, render_slices
from boxwright.cli.output import Output
from boxwright.errors import DataError, RecipeError
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset
    from boxwright.evaluate import MetricsTable, Slice
    from boxwright.runs.assess import Assessment


class Evaluated(NamedTuple):
    """The results of one source on the split."""

    metrics: MetricsTable
    dataset: DetectionDataset
    detections: Any
    assessment: Assessment | None = None
    """Only for a run."""


def _sources_there(paths: list[Path]) -> list[Path]:
    return [path for path in map(run_there, paths) if path]


def evaluate(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|DETECTIONS.json...",
            callback=_sources_there,
            autocompletion=complete_run,
            help="A run, or a COCO results file; several are compared with the first.",
        ),
    ],
    data: Data,
    reader: Reader = None,
    split: Annotated[str, typer.Option(help="Split to evaluate on.")] = "test",
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
    allow_links: AllowLinks = False,
    group_by: GroupBy = None,
    split_file: SplitFile = None,
    max_pixels: MaxPixels = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Slices of the images: folder, size, exif:KEY, or a REGEX in their names."),
    ] = None,
    nms: NmsOption = None,
    nms_agnostic: AgnosticOption = None,
    batch: Batch = "auto",
    precision: InPrecision = "float32",
    device: OnDevice = "auto",
    save_detections: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the detections as COCO results JSON.")
    ] = None,
    save_targets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write the ground truth as COCO JSON, with the same ids."),
    ] = None,
    save_thresholds: Annotated[
        bool,
        typer.Option("--save-thresholds", help="Keep each class's score of the best F1: predict then uses it."),
    ] = False,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Compute COCO and VOC metrics of runs or COCO results files, with intervals and the differences between them."""
    from boxwright.runs.page import Sliced

    console = output.results
    options = data_options(settings, classes, max_pixels, reader) | {"allow_links": allow_links}
    options |= {"group_by": group_by, "split_file": split_file}
    _check_flags(sources, nms is not None or nms_agnostic is not None, by, save_detections, save_thresholds)
    outputs = [path for path in (save_detections, save_targets) if path]
    own = [_claimed(source, data, split, options, outputs, overwrite) for source in sources]
    finding = {"nms": nms, "nms_agnostic": nms_agnostic, "batch": batch_size(batch), "precision": precision}
    finding |= {"device": device, "save_thresholds": save_thresholds}
    found: dict[str, Evaluated] = {}
    for source, reading in zip(sources, own, strict=True):
        name = str(source) if str(source) not in found else f"{source} ({len(found) + 1})"
        if _is_file(source):
            found[name] = _evaluate_file(source, data, split, reading)
        else:
            found[name] = _evaluate_run(source, data, split, reading | finding | {"overwrite": overwrite}, output)
    first = next(iter(found.values()))
    content = first.metrics.to_json()
    _say_data(first.dataset, data, console)
    if len(found) == 1:
        slices = {} if by is None else _slices(first, by)  # a rule that makes none is refused before anything is said
        render_metrics(first.metrics, console)
        if by is not None:
            render_slices(slices, by, console)
            content |= {"by": by, "slices": {name: each.to_json() for name, each in slices.items()}}
            if first.assessment:
                first.assessment.write_page(sliced=Sliced(by, slices), overwrite=overwrite)
    else:
        content |= _compare(found, console, overwrite)
    _save(first, save_detections, save_targets, overwrite)
    output.write_json(lambda: content)


def _is_file(source: Path) -> bool:
    return source.suffix == ".json" and not source.is_dir()


def _check_flags(
    sources: Sequence[Path], suppressed: bool, by: str | None, save_detections: Path | None, save_thresholds: bool
) -> None:
    if suppressed and any(map(_is_file, sources)):
        raise RecipeError("--nms is for runs: the detections of a file are evaluated as they are")
    if save_thresholds and any(map(_is_file, sources)):
        raise RecipeError("--save-thresholds is for runs: no run uses the thresholds of a file")
    if len(sources) > 1 and by is not None:
        raise RecipeError("--by is for one source: evaluate each by itself")
    if len(sources) > 1 and save_detections is not None:
        raise RecipeError("--save-detections is for one source: evaluate each by itself")


def _claimed(
    source: Path, data: Path, split: str, options: dict[str, Any], outputs: list[Path], overwrite: bool
) -> dict[str, Any]:
    """Return the options with which this source reads the data, after all checks that need no computation."""
    from boxwright.data.layout import check_splits
    from boxwright.data.references import referred_files
    from boxwright.runs import Run
    from boxwright.runs.splits import split_file_for

    if options["reader"] is None and not _is_file(source):
        options = options | {"reader": Run.of(source).recipe.reader_options["reader"]}
    finding = {"allow_links": options["allow_links"], "reader": options["reader"]}
    if not _is_file(source) and options["split_file"] is None and options["group_by"] is None:
        options = options | {"split_file": split_file_for(Run.of(source), data, **finding)}
    splitting = {name: options[name] for name in ("split_file", "group_by")}
    check_splits(data, split, **finding, **splitting)  # before torch is imported
    read: Iterable[Path] = [source] if _is_file(source) else Run.of(source).files
    claim(*outputs, overwrite=overwrite, inputs=chain(read, referred_files(data, **finding)))
    return options


def _say_data(dataset: DetectionDataset, data: Path, console: Console) -> None:
    if left_out := dataset.left_out.summary():
        say(console, left_out, "yellow")
    counts = f"{plural(len(dataset), 'image')}, {plural(len(dataset.boxes), 'box')}"
    say(console, f"split {dataset.split} of {data}: {counts}", "bold")


def _compare(found: dict[str, Evaluated], console: Console, overwrite: bool) -> dict[str, Any]:
    """Print the differences to the first source, put them on the runs' pages, and give back those for JSON."""
    from boxwright.evaluate import compare_tables
    from boxwright.runs.page import Compared

    tables = {name: each.metrics for name, each in found.items()}
    dataset = next(iter(found.values())).dataset
    try:
        comparisons = compare_tables(tables)
    except ValueError as error:
        raise DataError(str(error)) from error
    names = [dataset.name(place) for place in range(len(dataset))]
    render_differences(tables, comparisons, names, console)
    compared = Compared(next(iter(tables)), comparisons)
    for assessment in filter(None, (each.assessment for each in found.values())):
        assessment.write_page(compared=compared, overwrite=overwrite)
    differences = {name: comparison.to_json() for name, comparison in comparisons.items()}
    for each in differences.values():
        for image in each["images"]:
            image["file_name"] = names[image["image"]]
    first, *others = tables
    return {"source": first, "sources": {name: tables[name].to_json() for name in others}, "differences": differences}


def _slices(found: Evaluated, rule: str) -> dict[str, Slice]:
    from boxwright.data.groups import image_groups
    from boxwright.evaluate import slice_metrics

    groups = image_groups(found.dataset, rule)
    try:
        return slice_metrics(found.metrics, groups)
    except ValueError as error:
        raise RecipeError(f"--by {rule}: {error}") from error


def _save(found: Evaluated, detections: Path | None, targets: Path | None, overwrite: bool) -> None:
    from boxwright.evaluate import save_results, save_targets

    if detections is not None:
        save_results(detections, found.detections, found.dataset, overwrite=overwrite)
    if targets is not None:
        save_targets(targets, found.dataset, overwrite=overwrite)


def _evaluate_file(source: Path, data: Path, split: str, options: dict[str, Any]) -> Evaluated:
    """Evaluate a COCO results file, without importing torch."""
    from boxwright.data import read_dataset
    from boxwright.evaluate import detection_metrics, read_results

    unseen = {"depth_range": "image"}  # no pixel is looked at
    dataset = read_dataset(data, split, **(unseen | options))
    detections = read_results(source, dataset)
    return Evaluated(detection_metrics(detections, dataset, dataset.classes), dataset, detections)


def _evaluate_run(source: Path, data: Path, split: str, options: dict[str, Any], output: Output) -> Evaluated:
    """Evaluate a run, and write its report."""
    from boxwright.runs.assess import evaluate_run

    with bar("evaluating", output.notes) as advance:
        assessment = evaluate_run(
            source, data, split, advance=advance, say=lambda text: say(output.notes, text), **options
        )
    for name, fault in assessment.faults.items():
        say(output.results, f"left out {name}: {fault}", "yellow")
    say(output.results, f"the report is in {assessment.report}")
    return Evaluated(assessment.metrics, assessment.dataset, assessment.detections, assessment)
