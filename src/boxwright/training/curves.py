"""The figures of the training steps on their way into the loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor

from boxwright.training.late import Late

ROW_EVERY = 10
"""Steps."""


class Row(NamedTuple):
    """What is known on the host of a row whose figures are on their way."""

    logged: bool
    """Or only shown, as that of an epoch's last step is."""
    names: list[str]
    lr: float
    epoch: int
    step: int


class Curves:
    """Every so many steps a row for the loggers, which comes to the host in one copy.

    Of all other steps nothing is asked, nor of a row before it is written.
    """

    def __init__(self) -> None:
        self._figures: dict[str, Tensor] = {}
        self._lr = 0.0
        self._steps = 0
        self._rows: Late[Row] = Late()
        self._latest: dict[str, Tensor] = {}

    def start(self, steps: int) -> None:
        """Begin after so many steps."""
        self._steps = steps

    def note(self, figures: Mapping[str, Tensor]) -> None:
        """Keep scalars without gradient of the step that runs, or of its newest batch, where they are."""
        self._figures |= {name: value.reshape(()) for name, value in figures.items()}

    def note_lr(self, lr: float) -> None:
        """Keep the learning rate of the step that runs."""
        self._lr = lr

    def send(self, trainer: L.Trainer) -> None:
        """Send the figures of a step that has just ended on their way if it is to have a row: the last one has too."""
        steps, before = trainer.global_step, self._steps
        self._steps = steps
        logged = steps % ROW_EVERY == 0 or trainer.should_stop
        if steps > before and (logged or trainer.is_last_batch):
            row = Row(logged, list(self._figures), self._lr, trainer.current_epoch, steps - 1)
            self._rows.send(torch.stack([*self._figures.values()]), row)

    def write(self, trainer: L.Trainer) -> None:
        """Hand the rows that were sent to the loggers, as Lightning does with what is logged."""
        for values, row in self._rows.read():
            self._latest = {**dict(zip(row.names, values.unbind(), strict=True)), "lr": torch.tensor(row.lr)}
            content = {name: value.item() for name, value in self._latest.items()} | {"epoch": row.epoch}
            for logger in trainer.loggers if row.logged else ():
                logger.log_metrics(content, row.step)
                logger.save()

    def take_latest(self) -> dict[str, Tensor]:
        """The figures of the newest row since they were last taken, on the host."""
        latest, self._latest = self._latest, {}
        return latest
