"""``boxwright predict``: objects in people's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
    least_score,
    run_or_start,
)


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|NAME", callback=run_or_start, help="A run folder, or weights that boxwright start fetch got."
        ),
    ],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Images, folders or globs.")],
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
    save_images: Annotated[bool, typer.Option("--save-images", help="Also draw the detections.")] = False,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """Find objects in images: COCO results JSON, and drawn images. Interrupted, the same command goes on.

    Exit code 1 where not one of the images could be read.
    """
    from boxwright.runs.predict import find_images

    files = find_images(sources)

    from boxwright.runs import Run
    from boxwright.runs.assess import predict_to_folder
    from boxwright.starts.cache import is_start

    console = Console()
    folder = out or (Run(Path("runs") / run.name) if is_start(run) else Run.of(run)).predictions
    with bar("predicting", console) as advance:
        found = predict_to_folder(
            run,
            files,
            folder,
            score=least_score(score),
            nms=nms,
            nms_agnostic=nms_agnostic,
            max_pixels=max_pixels,
            batch=batch_size(batch),
            precision=precision,  # type: ignore[arg-type]
            device=device,  # type: ignore[arg-type]
            save_images=save_images,
            overwrite=overwrite,
            advance=advance,
            say=lambda line: say(console, line),
        )
    if len(found.faults) == len(files):
        say(console, "not one image could be read", "red")
        raise typer.Exit(1)
    say(console, f"the detections are in {found.detections}")
    if save_images:
        say(console, f"the pictures are in {folder}; which is whose is in {found.images}")
