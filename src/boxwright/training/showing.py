"""What a training shows of itself: a bar of the epoch's steps, or a line now and then, and a line per epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.console import Console

from boxwright._util.printing import can_redraw, say
from boxwright._util.progress import bar, changing_line
from boxwright.training.schedule import Progress

_EACH = 20  # epochs with a line of their own in a notebook


def progress_callbacks(console: Console, progress: Progress) -> list[Callback]:
    """Make the callbacks that show progress on a console."""
    if can_redraw(console):
        steps: Callback = ProgressLine(stderr=console.stderr)
    else:
        steps = NotebookLine() if console.is_jupyter and not console.quiet else StepLines(console)
    return [EpochLines(console, progress), steps]


class ProgressLine(RichProgressBar):
    """Shows steps of the epoch, every loss term, positives and learning rate, to three significant digits."""

    def __init__(self, *, stderr: bool) -> None:
        theme = RichProgressBarTheme(metrics_format=".3g")
        super().__init__(leave=False, theme=theme, console_kwargs={"stderr": stderr})

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}"  # Lightning counts from 0, and gives -2 where there is no last one

    @property
    def console(self) -> Console | None:
        """The console of the bar: what is printed through it appears above the bar."""
        return self._console

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Return the latest figures."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class EpochLines(Callback):
    """Prints one line per epoch, on any terminal."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console = console
        self.progress = progress

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the epoch's line."""
        if self.console.is_jupyter and not _has_line(trainer.current_epoch + 1, trainer.max_epochs):
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = ["loss", "cls", "box", "dfl", "rpn_cls", "rpn_box", "positives", "val_loss", "AP", "AP50", "AP75"]
        parts = [f"{name} {values[name]:.3g}" for name in shown if name in values]
        bar = trainer.progress_bar_callback
        console = (bar.console if isinstance(bar, ProgressLine) else None) or self.console
        done = f"{self.progress.elapsed:5.0f} s  {self.progress.done:4.0%}"
        say(console, "  ".join([f"epoch {trainer.current_epoch + 1:3d}", done, *parts]))


def _has_line(epoch: int, last: int | None) -> bool:
    """Tell whether an epoch has a line in a notebook: the first ones, each tenth, from 100 on each hundredth."""
    return epoch <= _EACH or epoch == last or epoch % 10 ** (len(str(epoch)) - 1) == 0


class StepLines(Callback):
    """Shows the epoch's steps where there is no bar: a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._epoch = ExitStack()
        self._advance: Callable[..., None] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin with the epoch's steps, of which a resumed run may have made some."""
        if self._advance is None:
            self._advance = self._epoch.enter_context(bar(f"epoch {trainer.current_epoch + 1}, steps", self.console))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step."""
        if self._advance is not None:
            self._advance(batch_idx + 1, int(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make room for the epoch's line."""
        self._epoch.close()
        self._advance = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Make room for what is wrong."""
        self._epoch.close()


class NotebookLine(Callback):
    """Shows where a training is in one line of a notebook, which changes each second."""

    def __init__(self) -> None:
        self._line = ExitStack()
        self._due = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the line."""
        self._show = self._line.enter_context(changing_line())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 1
            self._show(f"epoch {trainer.current_epoch + 1}: step {batch_idx + 1} of {trainer.num_training_batches}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the line."""
        self._line.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Remove the line."""
        self._line.close()
