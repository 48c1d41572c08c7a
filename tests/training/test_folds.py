from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxwright.data import read_dataset
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.runs.assess import evaluate_run
from boxwright.training import RunOptions, train, train_folds
from boxwright.training.folds import interval_over_folds
from command_line import Boxwright
from dataset_builders import write_voc
from tiny_runs import SMALL


def write_dogs(root: Path, count: int = 12) -> Path:
    return write_voc(root, {f"i{i:02d}": [("dog", 10, 12, 40, 50)] for i in range(count)})


def test_interval_is_students_widened_for_shared_images() -> None:
    mean, low, high = interval_over_folds([0.5, 0.6, 0.7])
    assert mean == pytest.approx(0.6)
    error = np.sqrt((1 / 3 + 1 / 2) * 0.01)
    assert high - mean == pytest.approx(4.303 * error, rel=0.02)  # t of two degrees of freedom
    assert low == pytest.approx(2 * mean - high)
    assert isnan(interval_over_folds([0.5])[1])
    assert isnan(interval_over_folds([0.5, float("nan")])[0])
    assert interval_over_folds([0.4, 0.4]) == (0.4, 0.4, 0.4)


@pytest.mark.slow
def test_every_image_of_train_and_val_is_held_out_once(tmp_path: Path) -> None:
    data = write_dogs(tmp_path / "data")
    recipe = get_recipe("lite320", **SMALL, batch_size=4)
    options = RunOptions(steps=2, out=tmp_path / "folds")
    done = train_folds(data, recipe, 3, options)
    apart = {name for split in ("train", "val") for name in names_of(data, split)}
    held_out = [json.loads((done.folder / f"fold-{k}.json").read_text())["splits"]["val"] for k in (1, 2, 3)]
    assert sorted(name for names in held_out for name in names) == sorted(apart)
    assert not apart & set(names_of(data, "test"))
    written = json.loads((done.folder / "folds.json").read_text())
    assert [set(scores) for scores in written["scores"]] == [{"AP", "AP50", "AP75"}] * 3
    steps = (done.folder / "fold-2" / "metrics.csv").read_bytes()
    again = train_folds(data, recipe, 3, options)
    assert again == done
    assert (done.folder / "fold-2" / "metrics.csv").read_bytes() == steps  # nothing was trained again


def names_of(data: Path, split: str, **options: Any) -> list[str]:
    dataset = read_dataset(data, split, **options)
    return [dataset.name(row) for row in range(len(dataset))]


def test_folds_need_as_many_images(tmp_path: Path, boxwright: Boxwright) -> None:
    data = write_dogs(tmp_path / "data", 4)
    with pytest.raises(RecipeError, match=r"Expected --folds in 2\.\.3, the groups of images there are, but got 9"):
        train_folds(data, get_recipe("lite320", **SMALL), 9, RunOptions(out=tmp_path / "folds"))
    assert not (tmp_path / "folds").exists()
    done = boxwright("train", data, "--folds", 2, "--val-split", "none")
    assert done.code == 2
    assert "--folds makes its own splits" in done.err


@pytest.mark.slow
def test_a_run_is_evaluated_by_the_split_it_was_trained_by(tmp_path: Path) -> None:
    data = write_dogs(tmp_path / "data")
    run = train(data, get_recipe("lite320", **SMALL, batch_size=4), steps=1, out=tmp_path / "run")
    content = json.loads(run.split_file.read_text())
    assert {split: names_of(data, split) for split in content["splits"]} == content["splits"]
    moved = content["splits"]["train"].pop()
    content["splits"]["test"].append(moved)
    run.split_file.write_text(json.dumps(content))
    assessed = evaluate_run(run.folder, data).dataset
    assert moved in [assessed.name(row) for row in range(len(assessed))]
    own = write_voc(tmp_path / "own", {"i00": [("dog", 1, 1, 9, 9)], "x": [("dog", 1, 1, 9, 9)]}, {"test": ["x"]})
    assert len(evaluate_run(run.folder, own).dataset) == 1  # other data, with splits of its own
    other = train(data, get_recipe("lite320", **SMALL), steps=1, out=tmp_path / "other", split_file=str(run.folder))
    assert json.loads(other.split_file.read_text())["splits"] == content["splits"]
