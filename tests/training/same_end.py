"""Runs that are stopped, and whether two runs have ended in the same way, bit by bit."""

import csv
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from boxwright.runs import Run


class EndsAfter(Callback):
    """Ends a training after some steps, as Ctrl-C does."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.steps:
            raise KeyboardInterrupt


def assert_same_end(run: Run, other: Run) -> None:
    """Weights, averages, optimizer, schedule, thresholds and curves."""
    states = [torch.load(r.last_checkpoint, weights_only=True) for r in (run, other)]
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
        assert_equal(states[0][key], states[1][key], key)
    models = [load_file(r.model_file) for r in (run, other)]
    assert_equal(models[0], models[1], "model")
    assert run.thresholds == other.thresholds
    rows = [list(csv.DictReader(r.metrics_file.open())) for r in (run, other)]
    assert rows[0] == rows[1]


def assert_equal(ours: Any, theirs: Any, where: str) -> None:
    assert type(ours) is type(theirs), where
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(a, b, f"{where}[{place}]")
    else:
        assert ours == theirs, where
