"""A whole step of a training waits for the device once, where the criterion counts its positives."""

from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback
from rich.console import Console

import boxwright as bw
from boxwright._util import devices
from boxwright.demo_data import make_digits
from boxwright.training import module
from device_waits import DeviceWaits

APART = (
    "criterion/dense.py:match",  # matchers have tests of their own
    "training/module.py:_look_back",  # what was sent to the host a step before
)


class CountSteps(Callback):
    """Counts within each step, from the batch on the device to the end of all hooks but those of later callbacks."""

    def __init__(self) -> None:
        self.steps: list[Counter[str]] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.waits = DeviceWaits(APART)
        self.waits.__enter__()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.waits.__exit__(None, None, None)
        self.steps.append(self.waits.places)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_of_a_training_waits_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    data = make_digits(tmp_path / "digits", images={"train": 13}, size=64)
    count = CountSteps()
    options = {"image_size": 64, "width": 32, "batch_size": 1, "epochs": 1, "freeze": 4, "optimizer": optimizer}
    monkeypatch.setattr(devices, "_HOST", "no device")
    monkeypatch.setattr(module, "seed_generators", lambda seed, device: None)  # the CPU is no accelerator of torch's
    bw.train(data, val_split=None, out=tmp_path / "run", console=Console(quiet=True), callbacks=[count], **options)
    assert len(count.steps) == 13
    # How many updates the averages have had is known on the host
    once = {"criterion/dense.py:_gather_positives": 1, "training/averages.py:update_parameters": 1}
    assert all(step == once for step in count.steps), count.steps
