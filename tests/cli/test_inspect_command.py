"""``boxwright inspect`` as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.errors import DataError, RecipeError
from dataset_builders import write_voc

SMALL = ["--set", "image_size=64", "--set", "width=16", "--set", "pretrained=false", "--set", "freeze=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = {f"{n}": [("cat", 5.0, 5.0, 35.0, 30.0), ("dog", 40.0, 20.0, 44.0, 24.0)] for n in range(4)}
    return write_voc(tmp_path_factory.mktemp("data"), images, {"train": ["0", "1", "2"], "val": ["3"]})


def test_the_answer_comes_first_and_the_page_is_written(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "page.html"
    result = CliRunner().invoke(app, ["inspect", str(data), *SMALL, "--out", str(page)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("50 % of your objects have no anchor at all")  # 3 px wide, between the cells' centers
    assert "100 % are smaller than any anchor (32 px)" in lines[0]
    assert [line.split()[:2] for line in lines if line.startswith(("all", "cat", "dog"))] == [
        ["all", "6"],
        ["cat", "3"],
        ["dog", "3"],
    ]
    assert lines[-1] == f"the page is {page}"
    assert "(train)" in page.read_text(encoding="utf-8")


def test_a_split_of_a_file_is_what_a_training_with_it_sees(data: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text('{"splits": {"train": ["JPEGImages/3.jpg"], "val": ["JPEGImages/0.jpg"]}}')
    options = ["--split-file", str(split), "--out", str(tmp_path / "page.html")]
    result = CliRunner().invoke(app, ["inspect", str(data), *SMALL, *options])
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.output.splitlines() if line.startswith("all")] == ["2"]


def test_another_split_and_matcher(data: Path, tmp_path: Path) -> None:
    options = ["--split", "val", "--images", "0", "--set", "matcher=iou", "--out", str(tmp_path / "page.html")]
    result = CliRunner().invoke(app, ["inspect", str(data), *SMALL, *options])
    assert "50 % of your objects have nothing but a forced anchor below the threshold" in result.output
    assert "One object and its anchors" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--set", "matchr=iou"], RecipeError, "did you mean 'matcher'"),
        (["--set", "anchors=shapes:levels=8"], RecipeError, "anchors 'shapes:levels=8': Expected levels as 16x20"),
        (["--set", "anchors=shapes:levels=8x8 9x9 / 8x8 / 8x8"], RecipeError, "has one anchor a cell"),
        (["--set", "matcher=task_aligned"], RecipeError, "can't show matcher 'task_aligned'"),
        (["--run", "nowhere"], RecipeError, "no run or model at nowhere"),
        (["--run", ".", "--recipe", "ssd300"], RecipeError, "a run has its recipe"),
        (["--split", "trian"], DataError, "trian"),
        (["--seed", "1"], RecipeError, "add --inputs"),
        (["--inputs", "--images", "0"], RecipeError, "at least one input but got 0"),
        (["--inputs", "--set", "augment=own:mine"], RecipeError, "own"),
    ],
)
def test_what_cannot_be(data: Path, options: list[str], error: type[Exception], message: str) -> None:
    result = CliRunner().invoke(app, ["inspect", str(data), *options])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
