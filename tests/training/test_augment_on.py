"""Where training images are augmented: what a recipe says, what a training then does, and that nothing else matters."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from same_end import EndsAfter, assert_same_end

import boxwright as bw
from boxwright.data.loading import Batch
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.training import RunOptions
from boxwright.training.batches import augments_on_device
from boxwright.training.distributed import Ranks
from boxwright.training.workers import pixels_a_sample


@bw.augmentation
def darker(image: Any, boxes: Any, labels: Any, rng: np.random.Generator) -> Any:
    return image // 2, boxes, labels


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 3}, size=96)


class Seen(Callback):
    """The batches that a training worked on."""

    def __init__(self) -> None:
        self.trained: list[Batch] = []
        self.validated: list[Batch] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, *_: Any) -> None:
        self.trained.append(batch)

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, *_: Any) -> None:
        self.validated.append(batch)


def train(digits: Path, out: Path, **options: Any) -> Run:
    settings = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 2, "freeze": 4, "augment": "ssd"}
    return bw.train(digits, out=out, console=Console(quiet=True), checkpoint_minutes=0, **{**settings, **options})


def test_auto_is_the_device_that_is_faster_than_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = get_recipe("lite320")
    monkeypatch.setattr("boxwright.training.batches.usable_cores", lambda: 8)
    assert not augments_on_device(recipe, RunOptions(), Ranks())
    assert augments_on_device(recipe.replace(augment_on="device"), RunOptions(device="cpu"), Ranks())
    monkeypatch.setattr(RunOptions, "accelerator", lambda _: "cuda")
    assert augments_on_device(recipe, RunOptions(), Ranks())
    assert not augments_on_device(recipe.replace(augment_on="cpu"), RunOptions(), Ranks())
    assert not augments_on_device(recipe.replace(augment=darker), RunOptions(), Ranks())  # which runs on the CPU
    monkeypatch.setattr("boxwright.training.batches.usable_cores", lambda: 16)
    assert not augments_on_device(recipe, RunOptions(), Ranks())
    assert augments_on_device(recipe, RunOptions(), Ranks(0, 2, 2))  # half of them each


def test_an_augmentation_of_ones_own_is_not_for_the_device() -> None:
    recipe = get_recipe("lite320", augment=darker)
    with pytest.raises(RecipeError, match=r"Expected augment_on to be auto or cpu .* '.*:darker'"):
        recipe.replace(augment_on="device")
    with pytest.raises(RecipeError, match="augment_on"):
        get_recipe("lite320", augment_on="gpu")


def test_windows_of_images_of_unknown_size_are_the_largest() -> None:
    recipe = get_recipe("lite320")
    assert pixels_a_sample(np.array([[100, 200], [300, 50]], np.int32), recipe, True) == 20_000
    assert pixels_a_sample(np.array([[100, 200], [0, 0]], np.int32), recipe, True) == (4 * 322) ** 2


def test_a_step_sees_inputs_and_validation_those_of_the_cpu(digits: Path, tmp_path: Path) -> None:
    cpu, device = Seen(), Seen()
    train(digits, tmp_path / "cpu", augment_on="cpu", epochs=1, callbacks=[cpu])
    train(digits, tmp_path / "device", augment_on="device", epochs=1, callbacks=[device])
    assert len(cpu.trained) == len(device.trained) > 1
    for ours, theirs in zip(cpu.trained, device.trained, strict=True):
        assert theirs.windows is None
        assert ours.images.shape == theirs.images.shape
        assert all(torch.equal(one, other) for one, other in zip(ours.targets, theirs.targets, strict=True))
        assert (ours.images.float() - theirs.images.float()).abs().mean() < 1
    assert cpu.validated
    for ours, theirs in zip(cpu.validated, device.validated, strict=True):
        assert torch.equal(ours.images, theirs.images)


@pytest.mark.slow
def test_neither_workers_nor_a_stop_matter(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(digits, tmp_path / "whole", augment_on="device")
    assert_same_end(whole, train(digits, tmp_path / "workers", augment_on="device", workers=2))
    with pytest.raises(KeyboardInterrupt):
        train(digits, tmp_path / "stopped", augment_on="device", callbacks=[EndsAfter(3)])
    assert_same_end(whole, bw.train(digits, resume=tmp_path / "stopped", console=Console(quiet=True)))
