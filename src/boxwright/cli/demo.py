"""The whole job on the built-in data set: make it, check, train, evaluate, predict, report."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from boxwright.assess import Assessment, evaluate_run, predict_to_folder
from boxwright.check import check_dataset
from boxwright.cli.check import render_report
from boxwright.cli.evaluate import render_metrics
from boxwright.demo_data import make_digits
from boxwright.errors import DataError
from boxwright.training import train

IMAGE_SIZE = 192
PREDICTED = 12
"""Test images that are drawn into the run's predictions folder."""


def run_demo(folder: Path, *, minutes: float, console: Console) -> Assessment:
    """Everything under ``folder``: data/ and run/. Raises DataError where it holds an earlier demo."""
    if (folder / "run" / "recipe.yaml").exists():
        raise DataError(f"{folder} holds a demo already: remove it, or name another folder with --out")
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[bold]{text}[/bold]", highlight=False, soft_wrap=True)

    say("1. make the data set: handwritten digits on textured backgrounds")
    data = make_digits(folder / "data", size=IMAGE_SIZE)
    say(f"2. check it: boxwright check {data}")
    render_report(check_dataset(data), console)
    say(f"3. train: boxwright train {data} --minutes {minutes:g} --set image_size={IMAGE_SIZE} --set flip=none")
    run = train(data, console=console, minutes=minutes, out=folder / "run", image_size=IMAGE_SIZE, flip="none")
    say(f"4. evaluate: boxwright eval {run.folder} {data} --split test")
    assessment = evaluate_run(run.folder, data, "test")
    render_metrics(assessment.metrics, console)
    say(f"5. predict: boxwright predict {run.folder} {data / 'images' / 'test'} --save-images")
    files = sorted((data / "images" / "test").iterdir())[:PREDICTED]
    predict_to_folder(run.folder, files, run.predictions, save_images=True)
    say(f"done in {time.monotonic() - started:.0f} s")
    for what, path in (("report", assessment.report), ("pictures", run.predictions), ("model", run.model_file)):
        console.print(f"the {what}: {path}", highlight=False, soft_wrap=True)
    return assessment
