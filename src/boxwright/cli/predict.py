"""``boxwright predict``: objects in people's own pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright.cli.arguments import (
    AgnosticOption,
    AllowCode,
    Batch,
    InPrecision,
    MaxPixels,
    NmsOption,
    OnDevice,
    Overwrite,
    batch_size,
    check_score,
    min_score,
    number,
    run_or_start,
)
from boxwright.cli.completion import complete_run_or_start
from boxwright.cli.output import Output


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|NAME",
            callback=run_or_start,
            autocompletion=complete_run_or_start,
            help="A run folder, or weights that boxwright start fetch got.",
        ),
    ],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Images, videos, folders of images or globs; - for a list on standard input."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Where to write; default RUN/predictions, runs/NAME/predictions for weights by NAME.",
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="S|precision=P|recall=R",
            callback=check_score,
            help="Keep detections above this score, or above what a precision or recall takes by the validation; "
            "default each class's best F1 there, else the recipe's, 0.3.",
        ),
    ] = None,
    nms: NmsOption = None,
    nms_agnostic: AgnosticOption = None,
    max_pixels: MaxPixels = None,
    batch: Batch = "auto",
    precision: InPrecision = "float32",
    device: OnDevice = "auto",
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="A,B",
            help="coco is detections.json, which there always is; csv, yolo and voc get a folder each, for labeling.",
        ),
    ] = "coco",
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Also put the images there, which makes them data sets.")
    ] = False,
    save_images: Annotated[bool, typer.Option("--save-images", help="Also draw the detections.")] = False,
    save_crops: Annotated[bool, typer.Option("--save-crops", help="Also cut them out, a folder a class.")] = False,
    save_video: Annotated[bool, typer.Option("--save-video", help="Also draw them on the videos.")] = False,
    every: Annotated[int, typer.Option(metavar="N", callback=number(1), help="Look at each Nth frame of a video.")] = 1,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Find objects in images and videos: JSON, files of labeling tools, drawn images.

    Interrupted, the same command goes on. Exit code 1 where not one image could be read.
    """
    from boxwright.runs.predict import find_images

    files = find_images(sources, videos=True, lines=sys.stdin.buffer if "-" in sources else None)

    from boxwright.runs import Run
    from boxwright.runs.assess import predict_to_folder
    from boxwright.starts.cache import is_start

    console = output.results
    folder = out or (Run(Path("runs") / run.name) if is_start(run) else Run.of(run)).predictions
    with bar("predicting", output.notes) as advance:
        found = predict_to_folder(
            run,
            files,
            folder,
            score=min_score(score),
            nms=nms,
            nms_agnostic=nms_agnostic,
            max_pixels=max_pixels,
            batch=batch_size(batch),
            precision=precision,  # type: ignore[arg-type]
            device=device,  # type: ignore[arg-type]
            formats=formats.split(","),
            copy_images=copy_images,
            save_images=save_images,
            save_crops=save_crops,
            save_video=save_video,
            every=every,
            overwrite=overwrite,
            advance=advance,
            say=lambda line: say(output.notes, line),
        )
    output.write_json(lambda: {**vars(found), "folder": folder})
    if output.notes.quiet:  # else there was a line for each
        for fault in found.faults.values():
            say(console, f"left out: {fault}")
    if not found.looked_at:
        say(console, "not one image could be read", "red")
        raise typer.Exit(1)
    say(console, f"the detections are in {found.detections}")
    for name in sorted({*formats.split(","), *(("crops",) if save_crops else ())} - {"coco"}):
        say(console, f"{'the crops are' if name == 'crops' else f'what is for {name} is'} in {folder / name}")
    if save_video:
        say(console, f"the videos are in {folder}")
    if save_images:
        say(console, f"the pictures are in {folder}; which is whose is in {found.images}")
