"""What the Tab key offers, asked as a shell asks; torch isn't imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.cli import completion
from boxwright.recipes import list_recipes
from boxwright.starts.known import KNOWN


def offered(line: str, place: Path) -> list[str]:
    """What zsh would be given for the last word of a line; torch isn't there."""
    (place / "torch.py").write_text("raise AssertionError('torch is imported')\n")
    environment = {**os.environ, "_BOXWRIGHT_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    environment["PYTHONPATH"] = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "from boxwright.cli import main; main()"]
    done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [word.split('":"')[0].strip('"') for word in done.stdout.removeprefix("_arguments '*: :((").splitlines()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("boxwright doc", {"doctor"}),
        ("boxwright train data --recipe ssd5", {"ssd512"}),
        ("boxwright predict runs/", {"runs/cells"}),
        ("boxwright train data --set box_los", {"box_loss="}),
    ],
)
def test_as_a_shell_asks(line: str, words: set[str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "cells").mkdir(parents=True)
    (tmp_path / "runs" / "cells" / "recipe.yaml").touch()
    (tmp_path / "runs" / "other").mkdir()
    text = " ".join(offered(line, tmp_path))
    assert all(word in text for word in words)
    assert "other" not in text


def test_names() -> None:
    assert completion.complete_recipe("") == list_recipes()
    assert completion.complete_start("nano") == ["nano416"]
    assert "nano416" in completion.complete_run_or_start("")
    assert completion.complete_reader("yo") == ["yolo"]
    assert {"matcher", "atss"} <= set(completion.complete_part(""))
    assert len(KNOWN) == len(completion.complete_start(""))


def test_settings() -> None:
    assert completion.complete_setting("pretrai") == ["pretrained="]
    assert completion.complete_setting("pretrained=") == ["pretrained=false", "pretrained=true"]
    assert completion.complete_setting("box_loss=gi") == ["box_loss=giou"]
    assert completion.complete_setting("lr=") == []
    assert completion.complete_setting("no_such_key=") == []
    assert completion.complete_losses("giou,ci") == ["giou,ciou"]


def test_runs_are_folders_with_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completion.complete_run("") == []
    for name in ("here", "runs/there", "runs/empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("here", "runs/there"):
        (tmp_path / name / "recipe.yaml").touch()
    assert completion.complete_run("") == ["here", "runs/there"]
    assert completion.complete_run("runs/") == ["runs/there"]
