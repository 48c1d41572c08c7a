"""``boxwright demo``: the whole job on the built-in data set: make it, check, train, evaluate, predict, report."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from boxwright._util.ownership import mark_new_folder
from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright.cli.arguments import number
from boxwright.cli.check import render_report
from boxwright.cli.metrics import render_metrics
from boxwright.cli.output import Output
from boxwright.errors import DataError

if TYPE_CHECKING:
    from boxwright.runs.assess import Assessment

IMAGE_SIZE = 192
SHOWN = "test-000*.jpg"
"""Test images that are drawn: the first nine."""


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Where to write everything.")] = Path(
        "boxwright-demo"
    ),
    minutes: Annotated[float, typer.Option(callback=number(0, above=True), help="Minutes of training steps.")] = 2.0,
    *,
    output: Output,
) -> None:
    """Check, train, evaluate and predict on a built-in data set of handwritten digits, without network."""
    assessment, shown = run_demo(out, minutes=minutes, console=output.notes)
    for what, path in shown.items():
        say(output.results, f"the {what}: {path}")
    output.write_json(lambda: {**shown, "metrics": assessment.metrics.to_json()})


def run_demo(folder: Path, *, minutes: float, console: Console) -> tuple[Assessment, dict[str, Path]]:
    """Run the demo in ``folder``: data/ and run/; return the evaluation and the paths of the results.

    Raises DataError if one of the folders exists.
    """
    from boxwright.check import check_dataset
    from boxwright.demo_data import NAMES, Layout, make_digits
    from boxwright.runs.assess import evaluate_run, predict_to_folder
    from boxwright.training import train

    for name in ("data", "run"):
        if (folder / name).exists():
            raise DataError(f"{folder} holds {name} already: remove it, or name another folder with --out")
    mark_new_folder(folder, "demo")
    started = time.monotonic()

    def tell(text: str) -> None:
        say(console, text, "bold")

    tell("1. make the data set: handwritten digits on textured backgrounds")
    data, folder_of_run = folder / "data", folder / "run"
    make_digits(data, size=IMAGE_SIZE, layout=Layout(empty=0), classes=NAMES)
    tell(f"2. check it: {_command('check', data)}")
    with bar("checking", console) as advance:
        report = check_dataset(data, progress=advance)
    render_report(report, console)
    budget, settings = f"--minutes={minutes:g}", (f"--set=image_size={IMAGE_SIZE}", "--set=flip=none")
    tell(f"3. train: {_command('train', data, '--out', folder_of_run, budget, *settings)}")
    run = train(data, console=console, minutes=minutes, out=folder_of_run, image_size=IMAGE_SIZE, flip="none")
    tell(f"4. evaluate: {_command('eval', run.folder, data)}")
    with bar("evaluating", console) as advance:
        assessment = evaluate_run(run.folder, data, "test", advance=advance)
    render_metrics(assessment.metrics, console)
    pictures = data / "images" / "test"
    tell(f"5. predict: {_command('predict', run.folder, pictures / SHOWN, '--save-images')}")
    predict_to_folder(run.folder, sorted(pictures.glob(SHOWN)), run.predictions, save_images=True)
    tell(f"done in {time.monotonic() - started:.0f} s")
    return assessment, {"report": assessment.report, "pictures": run.predictions, "model": run.model_file}


def _command(*words: object) -> str:
    """Return the shell command that does what the demo does next."""
    return shlex.join(["boxwright", *map(str, words)])
