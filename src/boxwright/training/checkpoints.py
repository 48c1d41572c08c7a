"""Checkpoints that survive: written in one piece, of plain types and tensors, often enough, and at Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from boxwright.errors import RecipeError


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the file and renames, so that there is always a whole one; never unpickles anything."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return content


class Position(NamedTuple):
    """Where in a training a checkpoint was written."""

    epoch: int
    """Epochs that are complete."""
    batches: int
    """Batches of the next one that are done."""
    step: int
    """Optimiser steps."""


def read_position(checkpoint: Path) -> Position:
    """Raises RecipeError where the file is no checkpoint of a training."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)  # its tensors aren't read
        loop = content["loops"]["fit_loop"]
        epochs = loop["epoch_progress"]["current"]
        inside = epochs["started"] > epochs["processed"]
        batches = loop["epoch_loop.batch_progress"]["current"]["ready"]
        return Position(epochs["processed"], batches if inside else 0, content["global_step"])
    except Exception as error:  # torch.load raises whatever a foreign file leads it into
        raise RecipeError(f"{checkpoint} is no checkpoint to resume from: {str(error).splitlines()[0]}") from None


class Interrupted(Exception):
    """The user asked to stop, and the last checkpoint is written."""


class CtrlC:
    """Turns the first SIGINT into a question that the training answers between two steps; the second one raises."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> CtrlC:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.__exit__()


class LastCheckpoint(Checkpoint):
    """last.ckpt: after each epoch, every so many minutes within one, and when the user asks to stop."""

    def __init__(self, path: Path, minutes: float, ctrl_c: CtrlC) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.ctrl_c = ctrl_c
        self._written = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or loop.batch_progress.is_last_batch:
            return  # half a step can't be resumed, and an epoch's end has its own checkpoint
        stop = _agreed(trainer, self.ctrl_c.asked)
        if stop or _agreed(trainer, time.monotonic() - self._written >= self.seconds):
            self._write(trainer)
        if stop:
            raise Interrupted

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if not trainer.sanity_checking and _agreed(trainer, self.ctrl_c.asked):
            raise Interrupted

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer)
        if _agreed(trainer, self.ctrl_c.asked):
            raise Interrupted

    def _write(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # the curves up to here, as a resumed run keeps them
        trainer.save_checkpoint(self.path)
        self._written = time.monotonic()


def _agreed(trainer: L.Trainer, mine: bool) -> bool:
    """The first rank's answer, on all ranks."""
    return mine if trainer.world_size == 1 else bool(trainer.strategy.broadcast(mine))
