"""Training with a scaled loss, as in fp16 on a GPU without bf16.

The arithmetic is float32 here, for speed: that of fp16 is tried with every detector in test_layouts.
"""

import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from same_end import assert_same_end
from small_network import SMALL_NETWORK
from torch import Tensor

import boxwright as bw
from boxwright.criterion import DenseCriterion, Losses
from boxwright.demo_data import make_digits
from boxwright.errors import BoxwrightError
from boxwright.runs import Run
from boxwright.training import engine
from boxwright.training.module import TrainingModule
from boxwright.training.precision import Precision, ScaledHalf


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 2}, size=64)


@pytest.fixture(autouse=True)
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_precision", lambda *_: Precision("fp16", "for a test"))
    monkeypatch.setattr(ScaledHalf, "autocast_context_manager", lambda _: torch.autocast("cpu", enabled=False))


@pytest.fixture(params=[False, True], ids=["at once", "late and fused"])
def like_a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingModule, "reads_late", request.param)


def train(digits: Path, out: Path, **options: Any) -> Run:
    return bw.train(digits, out=out, console=Console(quiet=True), **{**SMALL_NETWORK, **options})


def scaler_of(run: Run) -> dict[str, float]:
    return torch.load(run.last_checkpoint, weights_only=True)["ScaledHalf"]


def overflow(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Make the gradients of these steps infinite, and not their losses."""
    share = TrainingModule._share_of_step

    def overflowing(self: TrainingModule, losses: Losses) -> Tensor:
        return share(self, losses) * (float("inf") if self.global_step in steps else 1)

    monkeypatch.setattr(TrainingModule, "_share_of_step", overflowing)


@pytest.mark.slow
@pytest.mark.usefixtures("like_a_gpu")
def test_a_step_that_overflows_is_left_out(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, {1})
    before = train(digits, tmp_path / "one", steps=1, ema=0.0)
    after = train(digits, tmp_path / "two", steps=2, ema=0.0)
    assert scaler_of(after)["scale"] == scaler_of(before)["scale"] / 2
    states = [torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in (before, after)]
    weights = [name for name in states[0] if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(states[0][name], states[1][name]) for name in weights)


@pytest.mark.slow
@pytest.mark.usefixtures("like_a_gpu")
def test_gradients_are_clipped_at_their_own_length(digits: Path, tmp_path: Path) -> None:
    """And not at that of the scaled loss."""
    options = {"steps": 10, "optimizer": "sgd:momentum=0", "lr": 1e-2, "weight_decay": 0.0, "warmup": 0.0}
    (row,) = [row for row in csv.DictReader(train(digits, tmp_path / "a", **options).metrics_file.open()) if row["lr"]]
    assert 0.01 < float(row["grad_norm"]) < 1000  # scaled by 2^16 it is above that


@pytest.mark.slow
@pytest.mark.usefixtures("like_a_gpu")
def test_a_loss_that_is_no_number_is_an_error_still(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = DenseCriterion._box_losses
    monkeypatch.setattr(
        DenseCriterion, "_box_losses", lambda self, *args: tuple(part * torch.inf for part in measure(self, *args))
    )
    with pytest.raises(
        BoxwrightError, match=r"step 0: not finite: .*boxes in pixels of the input.*weights were finite"
    ):
        train(digits, tmp_path / "run")


@pytest.mark.slow
def test_what_overflows_at_any_scale_is_an_error(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, set(range(100)))
    with pytest.raises(
        BoxwrightError, match=r"gradients in fp16, even with the loss scaled by .*the weights were finite"
    ):
        train(digits, tmp_path / "run", batch_size=1, epochs=4)


class Stop(Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise OSError("the power went")


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_scale(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow(monkeypatch, {1, 3})
    whole = train(digits, tmp_path / "whole", checkpoint_minutes=0)
    with pytest.raises(OSError, match="the power went"):
        train(digits, tmp_path / "half", checkpoint_minutes=0, callbacks=[Stop()])
    parts = bw.train(digits, resume=tmp_path / "half", console=Console(quiet=True))
    assert scaler_of(parts) == scaler_of(whole)
    assert scaler_of(parts)["scale"] == 2.0**14
    assert_same_end(parts, whole)
