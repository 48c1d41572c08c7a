"""The figures of the training steps on their way to the loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor

from boxwright.training.late import Late

ROW_EVERY = 10
"""Steps between rows."""


class Row(NamedTuple):
    """Facts known on the host about a row whose figures are still on the device."""

    logged: bool
    """False for a row that is only shown, such as an epoch's last step."""
    names: list[str]
    lr: float
    epoch: int
    step: int


class Curves:
    """Makes one row for the loggers every ``ROW_EVERY`` steps, copied to the host at once.

    Nothing is read from other steps, nor from a row before it is written.
    """

    def __init__(self) -> None:
        self._figures: dict[str, Tensor] = {}
        self._lr = 0.0
        self._steps = 0
        self._rows: Late[Row] = Late()
        self._latest: dict[str, Tensor] = {}

    def start(self, steps: int) -> None:
        """Start after this many steps."""
        self._steps = steps

    def note(self, figures: Mapping[str, Tensor]) -> None:
        """Keep scalars, without gradient and on their device, of the current step or its latest batch."""
        self._figures |= {name: value.reshape(()) for name, value in figures.items()}

    def note_lr(self, lr: float) -> None:
        """Keep the learning rate of the current step."""
        self._lr = lr

    def send(self, trainer: L.Trainer) -> None:
        """Start copying the figures of a finished step if it gets a row; the last one gets one too."""
        steps, before = trainer.global_step, self._steps
        self._steps = steps
        logged = steps % ROW_EVERY == 0 or trainer.should_stop
        if steps > before and (logged or trainer.is_last_batch):
            row = Row(logged, list(self._figures), self._lr, trainer.current_epoch, steps - 1)
            self._rows.send(torch.stack([*self._figures.values()]), row)

    def write(self, trainer: L.Trainer) -> None:
        """Pass the copied rows to the loggers, as Lightning does."""
        for values, row in self._rows.read():
            self._latest = {**dict(zip(row.names, values.unbind(), strict=True)), "lr": torch.tensor(row.lr)}
            content = {name: value.item() for name, value in self._latest.items()} | {"epoch": row.epoch}
            for logger in trainer.loggers if row.logged else ():
                logger.log_metrics(content, row.step)
                logger.save()

    def take_latest(self) -> dict[str, Tensor]:
        """Return the figures of the latest row, once, on the host."""
        latest, self._latest = self._latest, {}
        return latest
