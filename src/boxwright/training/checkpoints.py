"""Checkpoints that survive: written in one piece, of plain types and tensors, often enough, and at Ctrl-C."""

from __future__ import annotations

import operator
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from boxwright.errors import RecipeError
from boxwright.runs.checkpoints import read_checkpoint, write_checkpoint
from boxwright.training.distributed import AGREE_EVERY
from boxwright.training.module import TrainingModule
from boxwright.training.stopping import CtrlC, Interrupted


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the file and renames, so that there is always a whole one; never unpickles anything.

    A copy of the checkpoint is written by a thread while training goes on; the next one, and the end, wait for it and
    raise what it met.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        self.finish()
        copied = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
        self._writing = self._thread.submit(write_checkpoint, Path(path), copied)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        self.finish()
        return read_checkpoint(Path(path))

    def finish(self) -> None:
        """Wait until what was saved is on the disk. Raises WriteError."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def teardown(self) -> None:
        self.finish()


@dataclass(frozen=True, order=True)
class Position:
    """Where in a training a checkpoint was written."""

    epoch: int
    """Epochs that are complete."""
    batches: int
    """Batches of the next one that are done."""
    step: int
    """Optimiser steps."""
    elapsed: float = field(default=0.0, compare=False)
    """Seconds of training."""
    waited: int = field(default=0, compare=False)
    """Epochs without a better AP, as patience counts them."""


def read_position(checkpoint: Path) -> Position:
    """Raises RecipeError where the file is no checkpoint of a training, or damaged."""
    content = read_checkpoint(checkpoint, mmap=True)  # its tensors aren't read
    try:
        loop = content["loops"]["fit_loop"]
        epochs = loop["epoch_progress"]["current"]
        inside = epochs["started"] > epochs["processed"]
        batches = loop["epoch_loop.batch_progress"]["current"]["ready"]
        callbacks = content["callbacks"]
        waited = [state["wait_count"] for name, state in callbacks.items() if name.startswith("EarlyStopping")]
        return Position(
            operator.index(epochs["processed"]),
            operator.index(batches) if inside else 0,
            operator.index(content["global_step"]),
            elapsed=float(callbacks["Clock"]["elapsed"]),
            waited=max(waited, default=0),
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        raise RecipeError(f"{checkpoint} is no checkpoint of a training that can go on") from None


def fitting_weights(checkpoint: Path, module: nn.Module) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint. Raises RecipeError unless they are ``module``'s by name and shape."""
    theirs = read_checkpoint(checkpoint, mmap=True).get("state_dict")
    ours = {name: value.shape for name, value in module.state_dict().items()}
    if not isinstance(theirs, dict) or ours != {name: getattr(value, "shape", None) for name, value in theirs.items()}:
        raise RecipeError(f"{checkpoint} does not fit the run's recipe.yaml: it is another run's, or one was changed")
    return theirs


class LastCheckpoint(Checkpoint):
    """last.ckpt: after each epoch, every so many minutes within one, and when the user asks to stop."""

    def __init__(self, path: Path, minutes: float, ctrl_c: CtrlC) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.ctrl_c = ctrl_c
        self._written = time.monotonic()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.path = trainer.strategy.broadcast(self.path)  # the first rank has made the folder

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.ctrl_c.asked:
            raise self.ctrl_c.error
        self.ctrl_c.listen()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or loop.batch_progress.is_last_batch:
            return  # half a step can't be resumed, and an epoch's end has its own checkpoint
        if trainer.world_size > 1 and trainer.global_step % AGREE_EVERY:
            return
        stop = _agreed(trainer, self.ctrl_c.asked)
        if stop or _agreed(trainer, time.monotonic() - self._written >= self.seconds):
            self._write(trainer)
        if stop:
            raise Interrupted

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """The last checkpoint is at most so many minutes old; where there is none yet, the epoch's end writes one."""
        if _agreed(trainer, self.ctrl_c.asked and self.path.is_file()):
            raise Interrupted
        if self.ctrl_c.asked:
            self.ctrl_c.announce("stopping after this validation, with the first checkpoint; once more: at once")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer)
        if _agreed(trainer, self.ctrl_c.asked):
            raise Interrupted

    def _write(self, trainer: L.Trainer) -> None:
        module = trainer.lightning_module
        if isinstance(module, TrainingModule):
            module.curves.send(trainer)
            module.curves.write(trainer)
        for logger in trainer.loggers:
            logger.save()  # the curves up to here, as a resumed run keeps them
        trainer.save_checkpoint(self.path)
        self._written = time.monotonic()


def _agreed(trainer: L.Trainer, mine: bool) -> bool:
    """The first rank's answer, on all ranks."""
    return mine if trainer.world_size == 1 else bool(trainer.strategy.broadcast(mine))
