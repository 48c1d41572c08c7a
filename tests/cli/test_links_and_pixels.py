"""--allow-links and --max-pixels, wherever a data set is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.data.references import referred_files
from boxwright.errors import DataError
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.training.options import RunOptions
from boxwright.training.reading import read_data
from dataset_builders import Box, write_picture, write_yolo

SOUND: list[Box] = [("dog", 10, 12, 40, 50)]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder whose images and labels are links to another disk, say."""
    splits = {split: {f"{split}{i}.jpg": SOUND for i in range(3)} for split in ("train", "val", "test")}
    write_yolo(tmp_path / "store", splits, ("dog",), above=False)
    root = tmp_path / "data"
    root.mkdir()
    for name in ("images", "labels"):
        (root / name).symlink_to(tmp_path / "store" / name)
    return root


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_check_follows_links_on_request_and_prints_where_they_lead(linked: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(linked)])
    assert isinstance(result.exception, DataError)
    assert "--allow-links follows it" in str(result.exception)
    output = run("check", linked, "--allow-links")
    assert "9 images, 9 boxes" in output
    assert f"followed-link images: leads to {tmp_path / 'store' / 'images'}" in output
    assert json.loads(run("check", linked, "--allow-links", "--json"))["images"] == 9


def test_no_output_replaces_what_lies_behind_a_link(linked: Path) -> None:
    assert linked.resolve() / "images/train/train0.jpg" in set(referred_files(linked, allow_links=True))


def test_check_takes_a_limit_of_pixels(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a.jpg": SOUND}}, ("dog",))
    write_picture(tmp_path / "train" / "images" / "b.jpg", 3, 90, 90)
    assert "refused" not in run("check", tmp_path)
    assert "refused train/images/b.jpg" in run("check", tmp_path, "--max-pixels", 4800, code=1)
    assert "refused train/images/b.jpg" in run("check", tmp_path, "--set", "max_pixels=4800", code=1)
    assert "--max-pixels" in run("check", tmp_path, "--max-pixels", 0, code=2)


def test_train_hands_both_on(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}
    monkeypatch.setattr(
        "boxwright.training.train", lambda data, recipe, **options: taken.update(options) or Run(linked)
    )
    run("train", linked, "--allow-links", "--max-pixels", 10**9)
    assert (taken["allow_links"], taken["max_pixels"]) == (True, 10**9)
    options, recipe = RunOptions.take({name: taken[name] for name in ("allow_links", "max_pixels")})
    assert options.allow_links
    assert recipe == {"max_pixels": 10**9}


def test_training_reads_behind_links_on_request(linked: Path, tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as file:
        console = Console(file=file, width=400)
        recipe = get_recipe("lite320")
        training, validation = read_data(linked, None, recipe, RunOptions(allow_links=True), console)
        with pytest.raises(DataError, match="--allow-links"):
            read_data(linked, None, recipe, RunOptions(), console)
    assert validation is not None
    assert (len(training), len(validation)) == (3, 3)
    assert f"images leads to {tmp_path / 'store' / 'images'}" in (tmp_path / "said").read_text()


def test_eval_of_a_file_reads_behind_links_on_request(linked: Path, tmp_path: Path) -> None:
    results = tmp_path / "detections.json"
    results.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [10, 12, 30, 38], "score": 0.9}]))
    assert "3 images, 3 boxes" in run("eval", results, linked, "--allow-links")
    assert isinstance(CliRunner().invoke(app, ["eval", str(results), str(linked)]).exception, DataError)
