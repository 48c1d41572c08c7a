"""``boxwright hardest`` as people type it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boxwright.cli import main
from boxwright.cli.app import app
from boxwright.demo_data import make_digits
from boxwright.errors import DataError

RUNNER = CliRunner()


def boxwright(*arguments: object) -> str:
    result = RUNNER.invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 8}, size=64)


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    tiny = ["image_size=64", "width=32", "freeze=4", "batch_size=4"]
    boxwright("train", digits, "--epochs", 1, "--out", out, *(word for key in tiny for word in ("--set", key)))
    return out


@pytest.mark.slow
def test_from_the_run_to_corrected_annotations(digits: Path, run: Path, tmp_path: Path) -> None:
    said = boxwright("hardest", digits, "--run", run, "--top", 12, "--out", tmp_path / "page.html")
    assert "more probably wrong than right, of " in said
    assert (tmp_path / "page.html").read_text().count("<article") == 12
    listed = json.loads((tmp_path / "page.json").read_text())
    assert len(listed["corrections"]) == 12
    doubt, first, *_ = said.splitlines()
    assert doubt.startswith("Train longer first: ")
    assert first.startswith(f"{listed['corrections'][0]['score']:.2f}  {listed['corrections'][0]['kind']}")

    listed["corrections"][0]["accepted"] = True
    (tmp_path / "mine.json").write_text(json.dumps(listed))
    said = boxwright("hardest", digits, "--apply", tmp_path / "mine.json")
    assert "mine-applied.json" in said
    assert {"images", "annotations", "categories"} <= json.loads((tmp_path / "mine-applied.json").read_text()).keys()


@pytest.mark.slow
def test_annotations_without_images_are_refused(digits: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(digits / "annotations", tmp_path / "annotations")
    with pytest.raises(DataError, match="none of the images"):
        RUNNER.invoke(app, ["hardest", str(tmp_path), "--run", str(run)], catch_exceptions=False)


def test_a_run_or_a_list_is_needed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["boxwright", "hardest", "."])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "Expected --run RUN" in capsys.readouterr().err
