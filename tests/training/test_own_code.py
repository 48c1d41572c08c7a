"""Training, predicting and comparing with parts from a file outside the package: those of examples/own_parts.py."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

import boxwright as bw
from boxwright import losses
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.own_code import import_code
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = {"image_size": 64, "width": 32, "batch_size": 4, "freeze": 4}
OWN = {
    "box_loss": "own_parts:wing_loss:width=2",
    "class_loss": "own_parts:frequency_loss",
    "matcher": "own_parts:match_by_prediction:top=3",
    "miner": "own_parts:above_median",
    "coder": "own_parts:LinearCoder",
    "augment": "own_parts:blot",
    "optimizer": "own_parts:adam",
    "schedule": "own_parts:linear",
    "normalizer": "positives",
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 12, "val": 4, "test": 3}, size=64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the file in it."""
    shutil.copy(EXAMPLES / "own_parts.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_parts", None)


def train(data: Path, out: Path, **options: Any) -> Run:
    return bw.train(data, out=out, console=Console(quiet=True), **{**TINY, "steps": 4, **options})


def test_all_kinds_of_parts_at_once(digits: Path, folder: Path) -> None:
    """Trained with workers, resumed, and predicted with what prediction needs alone."""
    run = train(digits, folder / "run", allow_code=["own_parts"], workers=1, **OWN)
    noted = json.loads(run.data_file.read_text())["training"]["code"]
    assert noted.keys() == OWN.keys() - {"normalizer"}
    assert all(len(note["sha256"]) == 64 and note["file"] == "own_parts.py" for note in noted.values())
    state = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]["criterion.class_state"]
    assert state.sum() > 0  # the loss's own

    sys.modules.pop("own_parts")
    image = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(RecipeError, match="coder is own_parts:LinearCoder, code of the module own_parts"):
        run.load()
    assert len(bw.load(run.folder, allow_code=["own_parts"]).predict([image])) == 1
    sys.modules.pop("own_parts")
    with pytest.raises(RecipeError, match="--allow-code own_parts"):
        bw.train(digits, resume=run.folder, steps=6, console=Console(quiet=True))
    bw.train(digits, resume=run.folder, steps=6, allow_code=["own_parts"], console=Console(quiet=True))
    assert json.loads(run.data_file.read_text())["training"]["steps"] == 6


def test_what_only_training_needs_is_not_imported_to_predict(digits: Path, folder: Path) -> None:
    import_code(["own_parts"])
    own = sys.modules["own_parts"]
    run = train(
        digits, folder / "run", box_loss=partial(own.wing_loss, width=1.5), class_loss=own.frequency_loss,
        augment=own.blot, coder="delta", normalizer="positives",
    )  # fmt: skip
    assert run.recipe.box_loss == "own_parts:wing_loss:width=1.5"
    assert run.recipe.activation == "softmax"
    del sys.modules["own_parts"], own
    assert len(bw.load(run.folder).predict([np.zeros((40, 50, 3), np.uint8)])) == 1
    assert "own_parts" not in sys.modules


def test_a_formula_of_ones_own_gives_the_weights_of_the_built_in_one(digits: Path, tmp_path: Path) -> None:
    first = train(digits, tmp_path / "a", box_loss="giou", steps=20)
    second = train(digits, tmp_path / "b", box_loss=copied_giou, steps=20)
    ours, theirs = load_file(first.model_file), load_file(second.model_file)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@bw.box_loss(space="boxes", default_weight=2.0)
def copied_giou(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return losses.giou_loss(pred, target)


class Halved(nn.Module):
    """A criterion of one's own: the recipe's, at half its weight."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion
        self.calls = 0

    def forward(self, anchors: Any, outputs: Any, targets: Any) -> Any:
        self.calls += 1
        found = self.criterion(anchors, outputs, targets)
        terms = {name: term / 2 for name, term in found.terms.items()}
        return found._replace(total=found.total / 2, terms=terms)


def test_a_criterion_of_ones_own(digits: Path, tmp_path: Path) -> None:
    recipe = bw.recipes.get_recipe("lite320", classes=tuple("0123456789"), **TINY)
    criterion = Halved(build_criterion(recipe))
    run = train(digits, tmp_path / "run", criterion=criterion)
    assert criterion.calls >= 4
    assert json.loads(run.data_file.read_text())["training"]["criterion"].endswith(":Halved")


def test_parts_of_ones_own_are_compared(digits: Path, folder: Path) -> None:
    """In processes of their own, named on one side and given as a function on the other."""
    import_code(["own_parts"])
    own = sys.modules["own_parts"]
    options: dict[str, Any] = {**TINY, "console": Console(quiet=True)}
    values = ["giou", own.wing_loss, "own_parts:wing_loss:width=2"]
    found = bw.compare.compare(digits, {"box_loss": values}, seeds=1, steps=3, out=folder / "compare", **options)
    assert [arm.name for arm in found.arms] == ["giou", "own_parts:wing_loss", "own_parts:wing_loss:width=2"]
    assert not any(run.failed for run in found.runs)


def test_other_processes_cannot_import_a_script(digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied_giou, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "copied_giou", copied_giou, raising=False)
    with pytest.raises(RecipeError, match=r"can't import parts of a script or notebook \(__main__\): move them"):
        bw.compare.compare(digits, {"box_loss": ["giou", copied_giou]}, out=folder / "no", **TINY)
