"""A small training from end to end: what it leaves behind, and that it can be trusted."""

import csv
import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from safetensors.torch import load_file

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import DataError, RecipeError
from boxwright.evaluate import Thresholds
from boxwright.runs import Run
from boxwright.training.layer_rates import parameter_groups

pytestmark = pytest.mark.slow

TINY = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 2, "freeze": 4}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_digits(tmp_path_factory.mktemp("digits"), images={"train": 10, "val": 4, "test": 3}, size=64)
    broken = sorted((folder / "images" / "train").iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return bw.train(digits, out=tmp_path_factory.mktemp("runs") / "a", console=Console(quiet=True), **TINY)


def test_run_folder_is_complete(run: Run, digits: Path) -> None:
    for path in (run.recipe_file, run.model_file, run.data_file, run.metrics_file):
        assert path.stat().st_size > 0, path
    assert (run.folder / "best.ckpt").exists()
    assert (run.folder / "last.ckpt").exists()
    assert "classes:" in run.recipe_file.read_text()
    data = json.loads(run.data_file.read_text())
    assert data["environment"]["torch"]
    assert data["data"]["images"] == 17
    assert any("truncated" in f["message"] or f["severity"] == "error" for f in data["data"]["findings"])
    rows = list(csv.DictReader(run.metrics_file.open()))
    assert {"loss", "cls", "box", "dfl", "positives", "lr", "val_loss", "AP", "AP50"} <= rows[0].keys()


def test_a_model_loads_from_recipe_and_weights_alone(run: Run, tmp_path: Path) -> None:
    for name in ("recipe.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes((run.folder / name).read_bytes())
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    first = run.load()
    assert first.classes == tuple("0123456789")
    for other in (tmp_path / "model.safetensors", run.folder / "best.ckpt"):
        torch.testing.assert_close(first.predict(image, score=0.0), bw.load(other).predict(image, score=0.0))


def test_the_best_checkpoint_is_the_model(run: Run) -> None:
    best = torch.load(run.folder / "best.ckpt", weights_only=True)["state_dict"]
    kept = load_file(run.model_file)
    assert kept.keys() == {name.removeprefix("detector.") for name in best}
    for name, value in kept.items():
        torch.testing.assert_close(best[f"detector.{name}"], value)


def test_the_best_checkpoint_s_thresholds_are_the_run_s(run: Run) -> None:
    kept = run.thresholds
    assert kept is not None
    assert (kept.split, kept.images, tuple(kept.classes)) == ("val", 4, run.recipe.classes)
    assert kept.all_classes.objects == sum(each.objects for each in kept.classes.values()) > 4
    assert kept == bw.load(run.best_checkpoint).thresholds == run.load().thresholds


def test_same_seed_same_model(digits: Path, run: Run, tmp_path: Path) -> None:
    again = bw.train(digits, out=tmp_path / "b", console=Console(quiet=True), **TINY)
    other = bw.train(digits, out=tmp_path / "c", console=Console(quiet=True), seed=1, **TINY)
    weights = [load_file(r.model_file) for r in (run, again, other)]
    name = "net.head.logits.0.1.weight"
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_without_validation_the_last_weights_are_the_model(digits: Path, tmp_path: Path) -> None:
    run = bw.train(digits, val_split=None, out=tmp_path / "a", console=Console(quiet=True), **{**TINY, "epochs": 1})
    assert not (run.folder / "best.ckpt").exists()
    assert run.thresholds == Thresholds.unmeasured(run.recipe.classes, run.recipe.score)
    last = torch.load(run.folder / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in load_file(run.model_file).items():
        torch.testing.assert_close(last[f"detector.{name}"], value)


def test_minutes_end_the_training(digits: Path, tmp_path: Path) -> None:
    run = bw.train(digits, val_split=None, out=tmp_path / "a", console=Console(quiet=True), minutes=0.02, **TINY)
    assert run.model_file.exists()


def test_steps_end_the_training(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    run = bw.train(digits, val_split=None, out=out, console=Console(quiet=True), steps=3, **TINY)
    record = json.loads(run.data_file.read_text())
    assert record["training"]["steps"] == 3
    bw.train(digits, resume=out, console=Console(quiet=True))  # finished: nothing is left to do
    assert json.loads(run.data_file.read_text()) == record
    with pytest.raises(RecipeError, match="a number of steps"):
        bw.train(digits, resume=out, epochs=9, console=Console(quiet=True))


def test_initial_weights_are_taken_where_they_fit(digits: Path, tmp_path: Path) -> None:
    class Start(Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.weights = {name: value.clone() for name, value in pl_module.detector.state_dict().items()}

    start = Start()
    initial = {
        "net.head.laterals.0.0.weight": torch.full((32, 40, 1, 1), 0.5),
        "net.head.logits.0.1.bias": torch.ones(3),
    }
    options: dict[str, Any] = {**TINY, "steps": 1, "val_split": None, "console": Console(quiet=True)}
    bw.train(digits, out=tmp_path / "a", initial=initial, callbacks=[start], **options)
    assert (start.weights["net.head.laterals.0.0.weight"] == 0.5).all()
    assert not torch.equal(start.weights["net.head.logits.0.1.bias"][:3], torch.ones(3))


def test_an_empty_validation_is_none(digits: Path, tmp_path: Path) -> None:
    training = bw.read_dataset(digits, "train")
    said = Console(record=True, quiet=False, file=(tmp_path / "said.txt").open("w"), width=200)
    run = bw.train(training, validation=training.subset([]), out=tmp_path / "a", console=said, **{**TINY, "epochs": 1})
    assert run.model_file.exists()
    assert "no image to validate on" in said.export_text()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "tests"}, DataError, "tests"),
        ({"classes": ["11"]}, DataError, "11"),
        ({"lrr": 1}, RecipeError, "did you mean 'lr'"),
        ({"device": "tpu"}, RecipeError, "auto, cpu, cuda"),
        ({"minutes": -1.0}, RecipeError, "above 0"),
        ({"steps": 0}, RecipeError, "at least 1"),
        ({"steps": 3, "minutes": 1.0}, RecipeError, "minutes instead"),
        ({"workers": -1}, RecipeError, "at least 0"),
    ],
)
def test_wrong_options_leave_nothing_behind(
    digits: Path, tmp_path: Path, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bw.train(digits, out=tmp_path / "a", console=Console(quiet=True), **options)
    assert not (tmp_path / "a").exists()


def test_a_finished_run_is_never_overwritten(digits: Path, run: Run) -> None:
    with pytest.raises(RecipeError, match="holds a run already"):
        bw.train(digits, out=run.folder, console=Console(quiet=True))


def test_no_run_no_model(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RecipeError, match="no run or model"):
        bw.load(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"no recipe\.yaml"):
        bw.load(tmp_path)
    (tmp_path / "recipe.yaml").write_text(run.recipe_file.read_text().replace("width: 32", "width: 16"))
    (tmp_path / "model.safetensors").write_bytes(run.model_file.read_bytes())
    with pytest.raises(RecipeError, match="does not fit"):
        bw.load(tmp_path)
    for name in ("model.safetensors", "best.ckpt"):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(RecipeError, match="holds no model"):
            bw.load(tmp_path / name)


def test_only_matrices_decay() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(2, 2))
    module[2].requires_grad_(False)
    decaying, plain = parameter_groups(module, 0.1)
    assert [p.ndim for p in decaying["params"]] == [4]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]
    assert (decaying["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize(("recipe", "precision"), [("ssd300", "float32"), ("tiny-detector", "bf16")])
def test_other_recipes_train_on_a_light_backbone(digits: Path, tmp_path: Path, recipe: str, precision: str) -> None:
    options = {"backbone": "tf_efficientnet_lite0", "epochs": 1, "batch_size": 4, "precision": precision}
    run = bw.train(digits, recipe, out=tmp_path / "a", console=Console(quiet=True), **options)
    found = run.load().predict(np.zeros((50, 70, 3), np.uint8), score=0.0)[0]
    assert len(found.boxes) == 200 or recipe == "tiny-detector"
    assert json.loads(run.data_file.read_text())["training"]["precision"] == precision


def test_sampling_and_class_weights_by_name(digits: Path, tmp_path: Path) -> None:
    options = {**TINY, "epochs": 1, "sampling": "repeat_factor:threshold=1.0", "class_weights": "inverse_sqrt"}
    run = bw.train(digits, out=tmp_path / "a", console=Console(quiet=True), **options)
    steps = json.loads(run.data_file.read_text())["training"]["steps"]
    assert steps > 10 // 4  # rare digits are shown again


def test_a_tracker_without_its_package_is_named(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("no such package")

    monkeypatch.setattr(loggers, "TensorBoardLogger", missing)
    with pytest.raises(RecipeError, match="pip install tensorboard"):
        bw.train(digits, out=tmp_path / "a", logger="tensorboard", console=Console(quiet=True), **TINY)
    assert not (tmp_path / "a").exists()
