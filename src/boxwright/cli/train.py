"""``boxwright train``: a detector in a run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from boxwright._util.printing import say, say_table
from boxwright._util.progress import bar
from boxwright.cli.arguments import (
    MAX_SEED,
    MAX_WORKERS,
    AllowCode,
    AllowLinks,
    Classes,
    Data,
    GroupBy,
    MaxPixels,
    Minutes,
    Reader,
    Settings,
    SplitFile,
    Steps,
    auto_or,
    check_settings,
    number,
    run_there,
    typed_settings,
)
from boxwright.cli.completion import complete_recipe, complete_run, complete_run_or_start
from boxwright.cli.output import Output
from boxwright.errors import RecipeError

if TYPE_CHECKING:
    from boxwright.training import Folds


def train(
    data: Data,
    reader: Reader = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=complete_recipe,
            help="A built-in recipe or a YAML file; auto: lite320 as it fits the images.",
            show_default="the start's",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|FILE|NAME",
            autocompletion=complete_run_or_start,
            help="Start from an earlier run, a file of weights or a fetched start; its recipe, if --recipe names none.",
            show_default="nano416 if it is fetched, else lite320 without a start",
        ),
    ] = None,
    settings: Settings = [],  # noqa: B006
    classes: Classes = None,
    allow_links: AllowLinks = False,
    group_by: GroupBy = None,
    split_file: SplitFile = None,
    max_pixels: MaxPixels = None,
    split: Annotated[str | None, typer.Option(help="Split to train on.", show_default="train")] = None,
    val_split: Annotated[str | None, typer.Option(help="Split to validate on, or none.", show_default="val")] = None,
    epochs: Annotated[int | None, typer.Option(callback=number(1, 10**6), help="Passes over the images.")] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Annotated[
        int | None,
        typer.Option(callback=number(0, MAX_SEED), help="Seed of weights, order and augmentation.", show_default="0"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or xpu.", show_default="auto")] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="auto|N",
            callback=auto_or(0, MAX_WORKERS),
            help="Processes that augment images; 0: none beside the training's; auto: by the cores that are spare.",
            show_default="auto",
        ),
    ] = None,
    gpus: Annotated[
        int,
        typer.Option(
            callback=number(1, 1024), help="GPUs of this machine to train on; torchrun is for several machines."
        ),
    ] = 1,
    logger: Annotated[
        str | None, typer.Option(help="csv, tensorboard, wandb or mlflow, beside metrics.csv.", show_default="csv")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option(callback=number(0), help="Minutes between checkpoints within an epoch.", show_default="10"),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network first: minutes once, then faster steps.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="RUN", file_okay=False, help="The run folder to make.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", callback=run_there, autocompletion=complete_run, help="Go on with this run."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            callback=number(2, 1000),
            help="Train K detectors, each on all but a K-th of train and val, and evaluate each on that part.",
        ),
    ] = None,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Train a detector and keep it in a run folder. Ctrl-C stops it in order; --resume goes on."""
    from boxwright._util.launching import launch_on_gpus, started_by
    from boxwright.data.layout import check_splits
    from boxwright.recipes import get_recipe
    from boxwright.runs import Run
    from boxwright.runs.start import default_start, start_recipe

    if sum(length is not None for length in (epochs, minutes, steps)) > 1:
        raise RecipeError("Expected one of --epochs, --minutes and --steps but got several")
    if folds is not None and (resume is not None or split is not None or val_split is not None or gpus > 1):
        raise RecipeError("--folds makes its own splits and runs: leave out --resume, --split, --val-split and --gpus")
    if recipe is None and start is None and resume is None:
        start = default_start()
    settings_given = typed_settings(settings, recipe, reader)
    flags = {
        "split": split,
        "val_split": val_split,
        "minutes": minutes,
        "steps": steps,
        "seed": seed,
        "device": device,
        "workers": workers if workers in (None, "auto") else int(workers),
        "logger": logger,
        "checkpoint_minutes": checkpoint_minutes,
        "compile": compiled or None,
        "allow_links": allow_links or None,
        "group_by": group_by,
        "split_file": None if split_file is None else str(split_file),
        "start": start,
        "out": out,
    }
    check_settings(settings_given, flags)
    options: dict[str, Any] = {**settings_given, **{name: value for name, value in flags.items() if value is not None}}
    options |= {} if epochs is None else {"epochs": epochs}
    options |= {} if classes is None else {"classes": classes}
    options |= {} if max_pixels is None else {"max_pixels": max_pixels}
    # before torch is imported, which takes seconds: misspelled keys and splits fail here
    if resume is None:
        own = {name: value for name, value in options.items() if name not in flags}
        brought = start_recipe(start) if start is not None and recipe is None else None
        chosen = get_recipe(recipe or "lite320", **own) if brought is None else brought.replace(**own)
    else:
        chosen = Run.of(resume).recipe
    named = [name for name in (split, val_split) if name not in (None, "val", "none")]
    splitting = {"group_by": group_by, "split_file": split_file}
    check_splits(data, *named, allow_links=allow_links, reader=chosen.reader_options["reader"], **splitting)
    if gpus > 1 and not started_by(gpus):
        if device == "cpu":
            raise RecipeError(f"Expected --gpus {gpus} with --device auto or cuda but got cpu")
        raise typer.Exit(launch_on_gpus(sys.argv[1:], gpus))

    with bar("loading PyTorch and Lightning", output.notes):
        from boxwright.training import RunOptions, train_folds
        from boxwright.training import train as run_training

    if folds is None:
        run = run_training(data, recipe, resume=resume, console=output.notes, **options)
        say(output.results, f"the model is in {run.model_file}")
        output.write_json(lambda: {"run": run.folder, "model": run.model_file, "training": run.record["training"]})
    else:
        done = train_folds(data, chosen, folds, RunOptions.take(options)[0], console=output.notes)
        _render_folds(done, output.results)
        means = {name: dict(zip(("mean", "low", "high"), done.mean(name), strict=True)) for name in done.scores[0]}
        output.write_json(lambda: {"folder": done.folder, "images": done.images, "scores": done.scores, "means": means})


def _render_folds(done: Folds, console: Console) -> None:
    rows = [
        (f"{fold}", f"{images}", *(f"{score:.3f}" for score in scores.values()))
        for fold, (images, scores) in enumerate(zip(done.images, done.scores, strict=True), 1)
    ]
    means = [done.mean(name) for name in done.scores[0]]
    rows += [("mean", f"{sum(done.images)}", *(f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in means))]
    say_table(console, ("fold", "images", *done.scores[0]), rows, ruled=[len(rows) - 2])
    say(console, "95 % intervals over folds, widened for the images that their trainings share")
    say(console, f"the runs and folds.json are in {done.folder}")
