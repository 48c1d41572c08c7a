"""The recorded command is read back by the command line itself: the same recipe and options come out."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import boxwright.training
from boxwright.cli.app import app
from boxwright.data import layout
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe, get_recipe
from boxwright.runs import Run
from boxwright.training.command import resume_command, train_command
from boxwright.training.options import RunOptions


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commands are typed."""
    (tmp_path / "my images").mkdir()
    monkeypatch.chdir(tmp_path)


def typed(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Recipe, RunOptions]:
    """What the training is asked for where the command is typed."""
    asked: list[Any] = []

    def train(data: Path, recipe: str | None, *, resume: Path | None, console: Console, **options: Any) -> Run:
        own, keys = RunOptions.take(options)
        asked.extend([data, get_recipe(recipe or "lite320", **keys), own])
        return Run(Path("run"))

    monkeypatch.setattr(boxwright.training, "train", train)
    monkeypatch.setattr(layout, "check_splits", lambda *_, **__: None)
    words = shlex.split(command)
    assert words[0] == "boxwright"
    result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    data, recipe, options = asked
    return data, recipe, options


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        (get_recipe("lite320"), RunOptions()),
        (get_recipe("lite320", epochs=3), RunOptions(seed=7, val_split=None, split="all of it")),
        (get_recipe("ssd300", lr=1e-5, mean=[0.5, 0.5, 0.5], class_weights="a=1, b=2.5"), RunOptions(minutes=0.25)),
        (
            get_recipe("lite320", classes=["a, b", "yes", "it's", "1"], voc_one_based=True, box_weight=None),
            RunOptions(device="cpu", workers=2, logger="tensorboard", checkpoint_minutes=0.0),
        ),
        (
            get_recipe("retinanet", matcher="iou:positive=0.6,negative=0.4,force=null", strides=[8, 16, 32, 64, 128]),
            RunOptions(out=Path("elsewhere")),
        ),
        (get_recipe("faster-rcnn", rpn_miner="ohem:count=256", resize="shortest"), RunOptions(steps=500)),
    ],
)
def test_a_command_is_read_back(recipe: Recipe, options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    command = train_command(Path("my images"), recipe, options)
    data, own, asked = typed(command, monkeypatch)
    assert data == Path("my images")
    assert own == recipe
    assert asked.to_json() == options.to_json()


def test_a_plain_run_has_a_plain_command() -> None:
    command = train_command(Path("images"), get_recipe("lite320", lr=1e-3), RunOptions(minutes=2.0))
    assert command == "boxwright train images --recipe lite320 --set lr=0.001 --minutes 2.0 --seed 0"


def test_resuming() -> None:
    command = resume_command(
        Path("images"), Path("runs/a b"), get_recipe("lite320"), {"epochs": 4, "checkpoint_minutes": 1.0}
    )
    assert command == "boxwright train images --resume 'runs/a b' --epochs 4 --checkpoint-minutes 1.0"


@pytest.mark.parametrize(
    "options",
    [
        *({"minutes": value} for value in (0, -1.0, math.nan, math.inf)),
        *({"steps": value} for value in (0, -1)),
        *({"seed": value} for value in (-1, 2**32)),
        *({"checkpoint_minutes": value} for value in (-0.5, math.nan, math.inf)),
        {"workers": -1},
    ],
)
def test_numbers_out_of_their_range(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="Expected"):
        RunOptions(**options)
