"""Checkpoints that survive crashes: written as a whole, of plain types and tensors, often, and at Ctrl-C."""

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
    """Writes a new file and renames it, so that a complete one always exists; unpickles nothing.

    A copy of the checkpoint is written by a thread while training continues; the next one, and the end, wait for it and
    raise its errors.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Start writing a checkpoint."""
        self.finish()
        copied = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
        self._writing = self._thread.submit(write_checkpoint, Path(path), copied)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint of plain values and tensors."""
        self.finish()
        return read_checkpoint(Path(path))

    def finish(self) -> None:
        """Wait until everything is on disk; raises WriteError."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def teardown(self) -> None:
        """Finish writing."""
        self.finish()


@dataclass(frozen=True, order=True)
class Position:
    """The point in a training at which a checkpoint was written."""

    epoch: int
    """Complete epochs."""
    batches: int
    """Batches of the next epoch that are done."""
    step: int
    """Optimizer steps."""
    elapsed: float = field(default=0.0, compare=False)
    """Seconds of training."""
    waited: int = field(default=0, compare=False)
    """Epochs without a better AP, as patience counts them."""


def read_position(checkpoint: Path) -> Position:
    """Read a checkpoint's position; raises RecipeError if the file is damaged or not a training's checkpoint."""
    content = read_checkpoint(checkpoint, mmap=True)  # the tensors are not read
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
    """Read the averaged weights of a checkpoint; raises RecipeError unless names and shapes are ``module``'s."""
    theirs = read_checkpoint(checkpoint, mmap=True).get("state_dict")
    ours = {name: value.shape for name, value in module.state_dict().items()}
    if not isinstance(theirs, dict) or ours != {name: getattr(value, "shape", None) for name, value in theirs.items()}:
        raise RecipeError(f"{checkpoint} does not fit the run's recipe.yaml: it is another run's, or one was changed")
    return theirs


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt: after each epoch, at intervals within one, and when the user asks to stop."""

    def __init__(self, path: Path, minutes: float, ctrl_c: CtrlC) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.ctrl_c = ctrl_c
        self._written = time.monotonic()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the first rank's path."""
        self.path = trainer.strategy.broadcast(self.path)  # the first rank has created the folder

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the interval."""
        if self.ctrl_c.asked:
            raise self.ctrl_c.error
        self.ctrl_c.listen()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Write a checkpoint if the interval has passed or the user asked to stop."""
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or loop.batch_progress.is_last_batch:
            return  # half a step cannot be resumed, and the end of an epoch has its own checkpoint
        if trainer.world_size > 1 and trainer.global_step % AGREE_EVERY:
            return
        stop = _agreed(trainer, self.ctrl_c.asked)
        if stop or _agreed(trainer, time.monotonic() - self._written >= self.seconds):
            self._write(trainer)
        if stop:
            raise Interrupted

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Write a checkpoint during a long validation too, once one exists; the end of an epoch writes the first."""
        if _agreed(trainer, self.ctrl_c.asked and self.path.is_file()):
            raise Interrupted
        if self.ctrl_c.asked:
            self.ctrl_c.announce("stopping after this validation, with the first checkpoint; once more: at once")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's checkpoint."""
        self._write(trainer)
        if _agreed(trainer, self.ctrl_c.asked):
            raise Interrupted

    def _write(self, trainer: L.Trainer) -> None:
        module = trainer.lightning_module
        if isinstance(module, TrainingModule):
            module.curves.send(trainer)
            module.curves.write(trainer)
        for logger in trainer.loggers:
            logger.save()  # the curves up to here, which a resumed run keeps
        trainer.save_checkpoint(self.path)
        self._written = time.monotonic()


def _agreed(trainer: L.Trainer, mine: bool) -> bool:
    """Return the first rank's answer on all ranks."""
    return mine if trainer.world_size == 1 else bool(trainer.strategy.broadcast(mine))
