"""Every image is predicted by the detector that did not see it, and no detector is trained twice."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_scenes import IMAGES, write_scenes
from rich.console import Console

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.hardest import folds
from boxwright.recipes import Recipe, get_recipe
from boxwright.runs import Run
from boxwright.types import Detections
from dataset_builders import write_voc

QUIET = Console(quiet=True)


def names(dataset: bw.DetectionDataset) -> set[str]:
    return {dataset.name(place) for place in range(len(dataset))}


class Stub:
    """Stands for training and prediction: a fold's detector finds one box, whose left side tells the fold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[tuple[str, set[str], dict[str, Any]]] = []
        self.stop = False
        monkeypatch.setattr(folds, "train", self.train)
        monkeypatch.setattr(folds, "predict_dataset", self.predict)
        monkeypatch.setattr(Run, "load", lambda run: run.folder.name)

    def train(self, data: bw.DetectionDataset, recipe: Recipe | None = None, **options: Any) -> Run:
        run = Run(Path(options.pop("resume", None) or options.pop("out")))
        options.pop("console")
        self.trained.append((run.folder.name, names(data), {"recipe": recipe, **options}))
        run.folder.mkdir(parents=True, exist_ok=True)
        run.last_checkpoint.touch()
        if self.stop:
            raise KeyboardInterrupt
        return run

    def predict(self, detector: str, data: bw.DetectionDataset, **_: Any) -> tuple[list[Detections], dict[str, str]]:
        import torch

        left = float(detector[-1])
        one = Detections(torch.tensor([[left, 0, 9, 9]]), torch.tensor([0.5]), torch.tensor([0]))
        return [one] * len(data), {}


def test_folds_share_the_images_out_evenly(tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path)
    parts = folds.split_folds(dataset, 5)
    assert sorted(np.concatenate(parts).tolist()) == list(range(IMAGES))
    assert sorted(map(len, parts)) == [2, 2, 2, 3, 3]


def test_identical_images_are_in_one_fold(tmp_path: Path) -> None:
    write_voc(tmp_path, {f"i{n}": [("cat", 1, 1, 9, 9)] for n in range(6)})
    images = tmp_path / "JPEGImages"
    for name in ("i3", "i5"):
        (images / f"{name}.jpg").write_bytes((images / "i0.jpg").read_bytes())
    parts = folds.split_folds(bw.read_dataset(tmp_path), 2)
    assert any({0, 3, 5} <= set(part.tolist()) for part in parts)
    with pytest.raises(RecipeError, match="Expected 2 to 4 folds"):
        folds.split_folds(bw.read_dataset(tmp_path), 5)


def make_run(folder: Path, **training: Any) -> Run:
    run = Run(folder)
    folder.mkdir()
    get_recipe("lite320", batch_size=2, epochs=7, patience=3).save(run.recipe_file)
    if training:
        ended = {"split": "train", "images": 9, "minutes of steps": 1.0, "images/s": 9.0, "device": "cpu"}
        run.data_file.write_text(json.dumps({"training": {**ended, **training}}))
    return run


def test_each_image_is_predicted_by_the_other_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, dataset = Stub(monkeypatch), write_scenes(tmp_path / "data")
    run = make_run(tmp_path / "run", steps=60, seed=5)
    found = folds.predict_out_of_fold(run.folder, dataset, 3, console=QUIET)
    assert sorted(found.image.tolist()) == list(range(IMAGES))
    for image, left in zip(found.image.tolist(), found.xywh[:, 0].tolist(), strict=True):
        fold, seen, _ = stub.trained[int(left) - 1]
        assert fold == f"fold-{left:.0f}"
        assert dataset.name(image) not in seen
    options = stub.trained[0][2]
    assert (options["steps"], options["seed"]) == (60, 5)
    assert options["recipe"].patience == 0


def test_a_run_that_tells_no_steps_lends_its_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, dataset = Stub(monkeypatch), write_scenes(tmp_path / "data")
    folds.predict_out_of_fold(make_run(tmp_path / "run").folder, dataset, 2, console=QUIET)
    options = stub.trained[0][2]
    assert options["steps"] is None
    assert options["recipe"].epochs == 7


def test_finished_folds_stay_and_stopped_ones_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, dataset = Stub(monkeypatch), write_scenes(tmp_path / "data")
    run = make_run(tmp_path / "run")
    first = folds.predict_out_of_fold(run.folder, dataset, 2, console=QUIET)
    again = folds.predict_out_of_fold(run.folder, dataset, 2, console=QUIET)
    assert len(stub.trained) == 2
    np.testing.assert_array_equal(first.xywh, again.xywh)

    other = dataset.subset(np.arange(10))
    stub.stop = True
    said = Console(record=True, width=200, file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        folds.predict_out_of_fold(run.folder, other, 2, console=said)
    assert "stopped in fold-1 of 2: the same command goes on" in said.export_text()
    stub.stop = False
    folds.predict_out_of_fold(run.folder, other, 2, console=QUIET)
    assert [fold for fold, _, _ in stub.trained[2:]] == ["fold-1", "fold-1", "fold-2"]
    assert stub.trained[3][2] == {"recipe": None}  # resumed, with its own recipe
