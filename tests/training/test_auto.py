"""A training decides what is auto once, says why, and writes it down: what comes after never decides again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from same_end import assert_same_end

import boxwright as bw
from boxwright.demo_data import Layout, make_digits
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from command_line import Boxwright

TINY: dict[str, Any] = {"width": 16, "batch_size": 4, "freeze": 4, "augment": "none", "val_split": None}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits so large that they leave lite320's anchors at 288 px."""
    layout = Layout(most=1, empty=0, sides=(0.9, 0.95))
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 6, "val": 2}, size=64, layout=layout)


@pytest.mark.slow
def test_a_run_has_what_its_images_decided(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    console = Console(file=printed, width=400)
    options = {**TINY, "image_size": 288, "steps": 2}
    run = bw.train(digits, "auto", out=tmp_path / "auto", console=console, **options)
    kept = yaml.safe_load(run.recipe_file.read_text())
    assert kept["detector"] == "auto"
    assert kept["strides"] == [8, 16, 32, 64]
    assert "auto" not in [kept[key] for key in ("anchors", "image_size", "resize", "flip", "sampling", "epochs")]
    assert "strides=[8,16,32,64]: of the objects at 288, 100 % are larger than 128 px" in printed.getvalue()
    (command,) = run.record["origin"]["commands"]
    assert "--recipe auto" in command
    assert "strides=[8, 16, 32, 64]" in command

    monkeypatch.setattr("boxwright.training.job.decide", lambda *_, **__: pytest.fail("decided again"))
    again = bw.train(digits, out=tmp_path / "again", console=console, recipe=run.recipe, **{**TINY, "steps": 2})
    assert_same_end(run, again)
    assert bw.train(digits, resume=run.folder, console=console).recipe == run.recipe
    assert run.load().recipe.strides == (8, 16, 32, 64)


def test_keys_that_are_given_are_not_decided(digits: Path, boxwright: Boxwright) -> None:
    outcome = boxwright("recipe", "show", "auto", "--set", "strides=[8,16,32]")
    assert outcome.code == 0
    shown = yaml.safe_load(outcome.out)
    assert shown["strides"] == [8, 16, 32]
    assert shown["anchors"] == "auto"
    sizes = boxwright("recipe", "show", "auto", "--sizes")
    assert sizes.code == 2
    assert "auto is decided by the images of a training" in sizes.err


def test_inspection_decides_and_says_so(digits: Path, tmp_path: Path, boxwright: Boxwright) -> None:
    settings = ["--set", "pretrained=false", "--set", "freeze=0", "--set", "image_size=288"]
    outcome = boxwright("inspect", digits, "--recipe", "auto", *settings, "--out", tmp_path / "page.html")
    assert outcome.code == 0, outcome.err
    assert "100 % are larger than 128 px: a map of stride 64 added" in outcome.out


def test_a_two_stage_detector_refuses_what_is_its_own(digits: Path, boxwright: Boxwright) -> None:
    outcome = boxwright("train", digits, "--recipe", "faster-rcnn", "--set", "anchors=auto")
    assert outcome.code == 2
    assert "anchors=auto has no meaning for faster-rcnn" in outcome.err
    with pytest.raises(RecipeError, match="strides has no meaning"):
        get_recipe("unitbox", strides="auto")
