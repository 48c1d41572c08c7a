"""The commands of ``boxwright``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.printing import say
from boxwright._util.writing import write_json
from boxwright.cli.arguments import (
    MAX_SEED,
    MAX_WORKERS,
    AllowCode,
    AllowLinks,
    Classes,
    Data,
    JsonFile,
    MaxPixels,
    Minutes,
    Overwrite,
    Settings,
    Steps,
    check_settings,
    data_options,
    number,
    run_there,
    typed_settings,
)
from boxwright.cli.commands import Commands
from boxwright.cli.compare import compare
from boxwright.cli.evaluate import evaluate
from boxwright.cli.hardest import hardest
from boxwright.cli.inspect import inspect
from boxwright.cli.parts import parts
from boxwright.cli.predict import predict
from boxwright.cli.progress import bar
from boxwright.cli.simulate import simulate
from boxwright.errors import RecipeError

app = typer.Typer(
    name="boxwright",
    cls=Commands,
    help="Train object detectors on your own images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(cls=Commands, help="The built-in recipes.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipe")
import_app = typer.Typer(cls=Commands, help="Other libraries' weights as runs.", no_args_is_help=True)
app.add_typer(import_app, name="import")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Versions and machine in one line.")] = False,
) -> None:
    if version:
        from boxwright.environment import environment_line

        say(Console(), environment_line())
        raise typer.Exit


@app.command()
def check(
    data: Data,
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
    allow_links: AllowLinks = False,
    max_pixels: MaxPixels = None,
    json: JsonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Look for everything that is wrong with a data set. Changes nothing.

    Exit code 0: trainable; 1: there are errors; 2: not recognised or not there.
    """
    from boxwright.check import check_dataset
    from boxwright.cli.check import render_report
    from boxwright.data.references import referred_files

    console = Console()
    options = data_options(settings, classes, max_pixels)
    if json is not None:
        claim(json, overwrite=overwrite, inputs=referred_files(data, allow_links=allow_links))
    with bar("checking", console) as advance:
        report = check_dataset(data, **options, allow_links=allow_links, progress=advance)
    render_report(report, console)
    if json is not None:
        write_json(json, {"generator": GENERATOR, **report.to_json()})
    raise typer.Exit(report.exit_code)


@app.command()
def train(
    data: Data,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A built-in recipe or a YAML file.", show_default="lite320")
    ] = None,
    settings: Settings = [],  # noqa: B006
    classes: Classes = None,
    allow_links: AllowLinks = False,
    max_pixels: MaxPixels = None,
    split: Annotated[str | None, typer.Option(help="Split to train on.", show_default="train")] = None,
    val_split: Annotated[str | None, typer.Option(help="Split to validate on, or none.", show_default="val")] = None,
    epochs: Annotated[int | None, typer.Option(callback=number(1, 10**6), help="Passes over the images.")] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Annotated[
        int | None,
        typer.Option(callback=number(0, MAX_SEED), help="Of weights, order and augmentation.", show_default="0"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            callback=number(0, MAX_WORKERS),
            help="Processes that augment images; 0: none beside the training's.",
            show_default="0",
        ),
    ] = None,
    logger: Annotated[
        str | None, typer.Option(help="csv, tensorboard, wandb or mlflow, beside metrics.csv.", show_default="csv")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option(callback=number(0), help="Minutes between checkpoints within an epoch.", show_default="10"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", file_okay=False, help="The run folder to make.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", callback=run_there, help="Go on with this run.")] = None,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """Train a detector and keep it in a run folder. Ctrl-C stops it in order; --resume goes on."""
    from boxwright.recipes import get_recipe

    if sum(length is not None for length in (epochs, minutes, steps)) > 1:
        raise RecipeError("Expected one of --epochs, --minutes and --steps but got several")
    settings_given = typed_settings(settings)
    flags = {
        "split": split,
        "val_split": val_split,
        "minutes": minutes,
        "steps": steps,
        "seed": seed,
        "device": device,
        "workers": workers,
        "logger": logger,
        "checkpoint_minutes": checkpoint_minutes,
        "allow_links": allow_links or None,
        "out": out,
    }
    check_settings(settings_given, flags)
    options: dict[str, Any] = {**settings_given, **{name: value for name, value in flags.items() if value is not None}}
    options |= {} if epochs is None else {"epochs": epochs}
    options |= {} if classes is None else {"classes": classes}
    options |= {} if max_pixels is None else {"max_pixels": max_pixels}
    if resume is None:  # before torch is imported: a misspelt key is told at once
        get_recipe(recipe or "lite320", **{name: value for name, value in options.items() if name not in flags})

    from boxwright.training import train as run_training

    run_training(data, recipe, resume=resume, **options)


app.command("eval")(evaluate)
app.command()(predict)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Where to write everything.")] = Path(
        "boxwright-demo"
    ),
    minutes: Annotated[float, typer.Option(callback=number(0, above=True), help="Minutes of training steps.")] = 2.0,
) -> None:
    """The whole job on a built-in data set of handwritten digits: check, train, evaluate, predict. No network."""
    from boxwright.cli.demo import run_demo

    run_demo(out, minutes=minutes, console=Console())


@recipes_app.command("list")
def list_all() -> None:
    """The names of the built-in recipes."""
    from boxwright.recipes import list_recipes

    console = Console()
    for name in list_recipes():
        say(console, name)


@recipes_app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE")],
    settings: Settings = [],  # noqa: B006
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also the network's parameters, multiply-adds and anchors; takes seconds.")
    ] = False,
) -> None:
    """Print every key of a recipe with its value, where that came from, and what it means."""
    from boxwright.cli.recipe import render_recipe, render_size
    from boxwright.recipes import get_recipe, parse_settings

    options = parse_settings(settings)
    recipe, console = get_recipe(name, **options), Console()
    render_recipe(recipe, name, set(options), console)
    if sizes:
        render_size(recipe, console)


@import_app.command("torchvision")
def import_torchvision(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="ssd300_vgg16, retinanet_resnet50_fpn, fcos_resnet50_fpn or fasterrcnn_resnet50_fpn."
        ),
    ],
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS.pth", help="A state_dict, as torchvision publishes them.")
    ],
    classes: Classes = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", file_okay=False, help="The run folder to make; default runs/NAME.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """A run folder from torchvision's weights, for predict and eval. A model of COCO's 91 ids gets COCO's names."""
    from boxwright.importing import import_weights

    names = data_options([], classes)["classes"] or ()
    run = import_weights(name, weights, out or Path("runs") / name, names, overwrite=overwrite)
    say(Console(), f"the model is in {run.model_file}")


app.command()(compare)
app.command()(inspect)
app.command()(hardest)
app.command()(simulate)
app.command()(parts)
