"""--set exif and --set depth_range, wherever a data set is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.errors import RecipeError
from dataset_builders import exif_with, write_picture, write_voc


@pytest.fixture
def sideways(tmp_path: Path) -> Path:
    """Boxes that were drawn on pixels which EXIF turns."""
    root = write_voc(tmp_path / "data", {name: [("cat", 10, 12, 40, 50)] for name in "ab"}, {"test": ["a", "b"]})
    for seed, name in enumerate("ab"):
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed, exif=exif_with(6))
    return root


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ((), "also to the boxes"),
        (("--set", "exif=boxes"), "also to the boxes"),
        (("--set", "exif=apply"), "taken as drawn upright"),
        (("--set", "exif=ignore"), "it is ignored"),
        (("--set", "exif=null"), "also to the boxes"),
    ],
)
def test_check_says_what_becomes_of_turned_images(sideways: Path, setting: tuple[str, ...], words: str) -> None:
    lines = [line for line in run("check", sideways, *setting).splitlines() if "exif-rotated" in line]
    assert len(lines) == 2
    assert all(words in line for line in lines)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("exif=turn", "Expected exif to be one of apply, ignore, boxes but got 'turn'"),
        ("depth_range=1", "Expected depth_range to be data, image or LOW,HIGH (0,4095) but got '1'"),
        ("depth_range=[0, 9]", "Expected depth_range to be str"),
        ("lr=1", "--set takes classes, reader, voc_one_based, exif, depth_range and max_pixels"),
    ],
)
def test_a_wrong_value_is_one_line(sideways: Path, setting: str, message: str) -> None:
    result = CliRunner().invoke(app, ["check", str(sideways), "--set", setting])
    assert isinstance(result.exception, RecipeError)
    assert message in str(result.exception)


def test_hardest_takes_no_other_classes_than_the_runs(sideways: Path) -> None:
    result = CliRunner().invoke(app, ["hardest", str(sideways), "--run", ".", "--set", "classes=dog"])
    assert isinstance(result.exception, RecipeError)
    assert "a run has its classes" in str(result.exception)


def test_a_file_is_measured_on_the_boxes_as_they_are_read(sideways: Path, tmp_path: Path) -> None:
    for setting, box in (((), [10, 10, 38, 30]), (("--set", "exif=apply"), [10, 12, 30, 38])):
        entries = [{"image_id": image, "category_id": 1, "bbox": box, "score": 0.9} for image in (1, 2)]
        (tmp_path / "found.json").write_text(json.dumps(entries))
        output = run("eval", tmp_path / "found.json", sideways, *setting)
        content = json.loads(run("eval", tmp_path / "found.json", sideways, "--json", *setting))
        assert content["AP"] == pytest.approx(1)
        assert ("boxes of 2 images turned as EXIF says" in output) == (setting == ())
