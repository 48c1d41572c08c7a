"""eval of results files and of runs: intervals, several sources, slices, and what of them is on a run's page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.data import read_dataset
from boxwright.errors import RecipeError
from boxwright.evaluate import save_results
from dataset_builders import write_picture, write_voc
from tiny_runs import keep_tiny_run

NAMES = [f"{time}_{place}" for time in ("day", "night") for place in range(12)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    objects = [("cat", 10, 12, 40, 50), ("dog", 50, 10, 70, 40)]
    root = write_voc(tmp_path / "data", dict.fromkeys(NAMES, objects), {"test": NAMES})
    for seed, name in enumerate(NAMES):
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed)
    return root


def results(data: Path, path: Path, *, found_at_night: int) -> Path:
    """Everything is found by day, and in so many images by night."""
    dataset = read_dataset(data, "test")
    predictions = []
    for place in range(len(dataset)):
        boxes, labels, _ = dataset.target(place)
        kept = slice(None) if place < 12 + found_at_night else slice(0, 0)
        predictions.append({"boxes": boxes[kept], "labels": labels[kept], "scores": np.full(len(boxes[kept]), 0.9)})
    save_results(path, predictions, dataset)
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_one_source_has_intervals_on_screen_and_in_json(data: Path, tmp_path: Path) -> None:
    source = results(data, tmp_path / "a.json", found_at_night=6)
    said, content = run(source, data), json.loads(run(source, data, "--json"))
    assert run(source, data, "--json", tmp_path / "out.json") == said
    assert json.loads((tmp_path / "out.json").read_text()) == content
    low, high = content["intervals"]["AP"]
    assert low < content["AP"] < high
    assert f"{content['AP']:.3f} [{low:.3f}, {high:.3f}]" in said
    assert set(content["intervals"]["per_class"]) == {"cat", "dog"}
    assert "24 images with objects: AP is known to ±" in said
    assert "fewer than 50 images" in said


def test_several_sources_are_compared_with_the_first(data: Path, tmp_path: Path) -> None:
    first = results(data, tmp_path / "a.json", found_at_night=12)
    second = results(data, tmp_path / "b.json", found_at_night=2)
    said, content = run(first, second, first, data), json.loads(run(first, second, first, data, "--json"))
    assert content["AP"] == 1.0
    assert content["source"] == str(first)
    assert content["sources"][str(second)]["AP"] < 0.7
    worse, same = content["differences"].values()
    assert worse["overall"]["AP"]["verdict"] == "worse"
    assert worse["overall"]["AP"]["value"] == pytest.approx(content["sources"][str(second)]["AP"] - 1)
    assert {image["file_name"].split("/")[-1].split("_")[0] for image in worse["images"]} == {"night"}
    assert [same["overall"]["AP"][key] for key in ("value", "low", "high")] == [0, 0, 0]
    assert f"{second} less {first}" in said
    assert "no detectable difference" in said


def test_slices(data: Path, tmp_path: Path) -> None:
    asked = (results(data, tmp_path / "a.json", found_at_night=4), data, "--by", "day|night")
    said, slices = run(*asked), json.loads(run(*asked, "--json"))["slices"]
    assert slices["night"]["difference"]["verdict"] == "worse"
    assert slices["day"]["AP"] == 1.0
    assert slices["day"]["per_class"]["cat"]["targets"] + slices["night"]["per_class"]["cat"]["targets"] == 24
    row = next(line for line in said.splitlines() if line.startswith("night"))
    assert "worse" in row


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--by", "("), "nor a regular expression"),
        (("--by", "zebra"), "of one group"),
        (("--nms", "iou"), "--nms is for runs"),
        (("--save-thresholds",), "--save-thresholds is for runs"),
    ],
)
def test_flags_that_make_no_sense(data: Path, tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    source = results(data, tmp_path / "a.json", found_at_night=4)
    result = CliRunner().invoke(app, ["eval", str(source), str(data), *more])
    assert isinstance(result.exception, RecipeError)
    assert message in str(result.exception)


@pytest.mark.parametrize("flag", [("--by", "day|night"), ("--save-detections", "out.json")])
def test_flags_for_one_source(data: Path, tmp_path: Path, flag: tuple[str, str]) -> None:
    source = results(data, tmp_path / "a.json", found_at_night=4)
    result = CliRunner().invoke(app, ["eval", str(source), str(source), str(data), *flag])
    assert isinstance(result.exception, RecipeError)
    assert "for one source" in str(result.exception)


def test_slices_and_differences_are_on_the_page_of_a_run(data: Path, tmp_path: Path) -> None:
    own = keep_tiny_run(tmp_path / "run", ("cat", "dog"))
    run(own.folder, data, "--by", "day|night")
    page = own.report_file().read_text()
    assert "<h2>By day|night</h2>" in page
    assert '</td><td class="n" data-name="images">12</td>' in page
    other = results(data, tmp_path / "b.json", found_at_night=2)
    run(own.folder, other, data)
    page = own.report_file().read_text()
    assert f"<h2>{other} less {own.folder}</h2>" in page
    assert "By day|night" not in page
