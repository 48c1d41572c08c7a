"""The commands of ``boxwright``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.arguments import Data, Settings, check_settings
from boxwright.cli.compare import compare
from boxwright.cli.hardest import hardest
from boxwright.cli.inspect import inspect
from boxwright.cli.progress import bar
from boxwright.cli.simulate import simulate
from boxwright.errors import RecipeError

app = typer.Typer(
    name="boxwright",
    help="Train object detectors on your own images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(help="The built-in recipes.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipe")
import_app = typer.Typer(help="Other libraries' weights as runs.", no_args_is_help=True)
app.add_typer(import_app, name="import")

Classes = Annotated[str | None, typer.Option("--classes", metavar="A,B", help="These classes alone, in this order.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", dir_okay=False, help="Also write the result as JSON.")
]
NmsOption = Annotated[
    str | None,
    typer.Option(
        "--nms",
        metavar="KIND",
        help="Instead of the recipe's: iou, diou, soft_linear, soft_gaussian, cluster_iou or cluster_soft.",
    ),
]
AgnosticOption = Annotated[
    bool | None,
    typer.Option("--nms-agnostic/--nms-per-class", help="Whether classes suppress one another; default the recipe's."),
]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Versions and machine in one line.")] = False,
) -> None:
    if version:
        from boxwright.environment import environment_line

        print(environment_line())
        raise typer.Exit


@app.command()
def check(data: Data, classes: Classes = None, settings: Settings = [], json: JsonFile = None) -> None:  # noqa: B006
    """Look for everything that is wrong with a data set. Changes nothing.

    Exit code 0: trainable; 1: there are errors; 2: not recognised or not there.
    """
    from boxwright.check import check_dataset
    from boxwright.cli.check import render_report

    console = Console()
    options = _data_options(settings, classes)
    with bar("checking", console) as advance:
        report = check_dataset(data, **options, progress=advance)
    render_report(report, console)
    if json is not None:
        _write_json(json, report.to_json())
    raise typer.Exit(report.exit_code)


@app.command()
def train(
    data: Data,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A built-in recipe or a YAML file.", show_default="lite320")
    ] = None,
    settings: Settings = [],  # noqa: B006
    classes: Classes = None,
    split: Annotated[str | None, typer.Option(help="Split to train on.", show_default="train")] = None,
    val_split: Annotated[str | None, typer.Option(help="Split to validate on, or none.", show_default="val")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of training steps, instead of epochs.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.", show_default="0")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that augment images; 0: none beside the training's.", show_default="0")
    ] = None,
    logger: Annotated[
        str | None, typer.Option(help="csv, tensorboard, wandb or mlflow, beside metrics.csv.", show_default="csv")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(help="Minutes between checkpoints within an epoch.", show_default="10")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", file_okay=False, help="The run folder to make.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
) -> None:
    """Train a detector and keep it in a run folder. Ctrl-C stops it in order; --resume goes on."""
    from boxwright.recipes import get_recipe, parse_settings

    if sum(length is not None for length in (epochs, minutes, steps)) > 1:
        raise RecipeError("Expected one of --epochs, --minutes and --steps but got several")
    settings_given = parse_settings(settings)
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
        "out": out,
    }
    check_settings(settings_given, flags)
    options: dict[str, Any] = {**settings_given, **{name: value for name, value in flags.items() if value is not None}}
    if val_split == "none":
        options["val_split"] = None
    options |= {} if epochs is None else {"epochs": epochs}
    options |= {} if classes is None else {"classes": classes}
    if resume is None:  # before torch is imported: a misspelt key is told at once
        get_recipe(recipe or "lite320", **{name: value for name, value in options.items() if name not in flags})

    from boxwright.training import train as run_training

    run_training(data, recipe, resume=resume, **options)


@app.command("eval")
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="RUN|DETECTIONS.json", help="A run, or a COCO results file.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Split to evaluate on.")] = "test",
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
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
) -> None:
    """COCO and VOC metrics of a run, or of anybody's COCO results file."""
    from boxwright.cli.evaluate import render_metrics

    console = Console()
    options = _data_options(settings, classes)
    if source.suffix == ".json":
        if nms is not None or nms_agnostic is not None:
            raise RecipeError("--nms is for runs: the detections of a file are evaluated as they are")
        table, dataset, kept = _evaluate_file(source, data, split, options)
    else:
        options |= {"nms": nms, "nms_agnostic": nms_agnostic}
        table, dataset, kept = _evaluate_run(source, data, split, options, console)
    if left_out := dataset.left_out.summary():
        say(console, left_out, "yellow")
    render_metrics(table, console)
    if json is not None:
        _write_json(json, table.to_json())
    if save_detections is not None:
        from boxwright.evaluate import save_results

        save_results(save_detections, kept, dataset)
    if save_targets is not None:
        from boxwright.evaluate import save_targets as save_targets_file

        save_targets_file(save_targets, dataset)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Images, folders or globs.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Where to write; default RUN/predictions.")
    ] = None,
    score: Annotated[float | None, typer.Option(help="Lowest score to keep; default the recipe's, 0.3.")] = None,
    nms: NmsOption = None,
    nms_agnostic: AgnosticOption = None,
    save_images: Annotated[bool, typer.Option("--save-images", help="Also draw the detections.")] = False,
) -> None:
    """Find objects in images: COCO results JSON, and drawn images."""
    from boxwright.predict import find_images

    files = find_images(sources)  # before torch is imported

    from boxwright.assess import predict_to_folder
    from boxwright.runs import Run

    console = Console()
    folder = out or Run.of(run).predictions
    options: dict[str, Any] = {"score": score, "nms": nms, "nms_agnostic": nms_agnostic, "save_images": save_images}
    with bar("predicting", console) as advance:
        lines = predict_to_folder(run, files, folder, advance=advance, **options)
    for line in lines:
        say(console, line)
    say(console, f"the detections are in {folder / 'detections.json'}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Where to write everything.")] = Path(
        "boxwright-demo"
    ),
    minutes: Annotated[float, typer.Option(help="Minutes of training steps.")] = 2.0,
) -> None:
    """The whole job on a built-in data set of handwritten digits: check, train, evaluate, predict. No network."""
    from boxwright.cli.demo import run_demo

    run_demo(out, minutes=minutes, console=Console())


@recipes_app.command("list")
def list_all() -> None:
    """The names of the built-in recipes."""
    from boxwright.recipes import list_recipes

    for name in list_recipes():
        print(name)


@recipes_app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE")], settings: Settings = []) -> None:  # noqa: B006
    """Every key of a recipe with its value, where that came from, and what it means; and the network's size."""
    from boxwright.cli.recipe import render_recipe, render_size
    from boxwright.recipes import get_recipe, parse_settings

    options = parse_settings(settings)
    recipe, console = get_recipe(name, **options), Console()
    render_recipe(recipe, name, set(options), console)
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
) -> None:
    """A run folder from torchvision's weights, for predict and eval. A model of COCO's 91 ids gets COCO's names."""
    from boxwright.importing import import_weights

    names = _data_options([], classes)["classes"] or ()
    run = import_weights(name, weights, out or Path("runs") / name, names)
    print(f"the model is in {run.model_file}")


app.command()(compare)


def _data_options(settings: list[str], classes: str | None) -> dict[str, Any]:
    """The keys that reading a data set knows."""
    from boxwright.recipes import get_recipe, parse_settings

    options = parse_settings(settings)
    foreign = sorted(options.keys() - {"classes", "voc_one_based"})
    if foreign:
        raise RecipeError(f"{foreign[0]!r} has no meaning here: --set takes classes and voc_one_based")
    if classes is not None:
        options["classes"] = classes
    recipe = get_recipe("lite320", **options)
    return {"classes": recipe.classes or None, "voc_one_based": recipe.voc_one_based}


def _evaluate_file(source: Path, data: Path, split: str, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Metrics, data set and detections of a results file; torch is never imported."""
    from boxwright.data import read_dataset
    from boxwright.evaluate import detection_metrics, read_results

    dataset = read_dataset(data, split, **options)
    detections = read_results(source, dataset)
    return detection_metrics(detections, dataset, dataset.classes), dataset, detections


def _evaluate_run(
    source: Path, data: Path, split: str, options: dict[str, Any], console: Console
) -> tuple[Any, Any, Any]:
    """Metrics, data set and detections of a run, which gets its report."""
    from boxwright.assess import evaluate_run

    with bar("evaluating", console) as advance:
        assessment = evaluate_run(source, data, split, advance=advance, **options)
    for name, fault in assessment.faults.items():
        say(console, f"left out {name}: {fault}", "yellow")
    say(console, f"the report is in {assessment.report}")
    return assessment.metrics, assessment.dataset, assessment.detections


def _write_json(path: Path, content: Any) -> None:
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


app.command()(hardest)
app.command()(inspect)
app.command()(simulate)
