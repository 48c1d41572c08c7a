"""Callbacks around the steps: time, averaged weights, validation metrics, one line per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from boxwright._util.printing import say
from boxwright.data.dataset import DetectionDataset
from boxwright.evaluate import detection_metrics
from boxwright.evaluate.thresholds import Thresholds
from boxwright.runs.predict import no_detections
from boxwright.training.averages import Averages
from boxwright.training.best import which_is_the_model
from boxwright.training.distributed import AGREE_EVERY
from boxwright.training.module import TrainingModule
from boxwright.training.schedule import Progress
from boxwright.training.stopping import Interrupted
from boxwright.types import Detections


class Clock(Callback):
    """Counts time during training steps only, and ends the training at its limit."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the elapsed seconds."""
        return {"elapsed": self.progress.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the elapsed seconds."""
        self._before = state_dict["elapsed"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.progress.start(self._before)
        self.progress.mark(trainer.global_step, self._before)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the clock run."""
        self.progress.resume()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Update the progress, and stop at the limit."""
        elapsed = self.progress.elapsed
        if self.progress.seconds and trainer.world_size > 1:
            if trainer.global_step % AGREE_EVERY:
                return
            elapsed = trainer.strategy.broadcast(elapsed)  # otherwise learning rates would differ between the ranks
        self.progress.mark(trainer.global_step, elapsed)
        if self.progress.done >= 1:
            trainer.should_stop = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pause during validation."""
        self.progress.pause()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pause between epochs."""
        self.progress.pause()


class AveragedWeights(WeightAveraging):
    """The average of weights and statistics, see ``Averages``, which is validated and saved."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the averages on the training's device; Lightning would keep them on the CPU, where the module is."""
        self._average_model = Averages(pl_module, self.decay, trainer.strategy.root_device)


class Validation(Callback):
    """Metrics of the validation images, from the same forward pass that gives their losses."""

    def __init__(self, dataset: DetectionDataset, console: Console) -> None:
        self.dataset = dataset
        self.console = console
        self.epochs = 0
        self.without_ap = 0
        """Number of epochs whose AP was undefined."""

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs without AP."""
        return {"epochs": self.epochs, "without_ap": self.without_ap}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the epochs without AP."""
        self.epochs, self.without_ap = state_dict["epochs"], state_dict["without_ap"]

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the detections of the last validation."""
        assert isinstance(pl_module, TrainingModule)
        pl_module.found = {}

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute and log the metrics."""
        assert isinstance(pl_module, TrainingModule)
        if trainer.world_size > 1:
            pl_module.found = _gathered(pl_module.found, trainer.world_size)
        # An unreadable image counts as one without detections.
        predictions = [pl_module.found.get(place, no_detections()) for place in range(len(self.dataset))]
        metrics = detection_metrics(predictions, self.dataset, self.dataset.classes)
        pl_module.thresholds = Thresholds.of(
            metrics.matches, metrics.classes, split=self.dataset.split or "", default=pl_module.recipe.score
        )
        self.epochs += 1
        self.without_ap += bool(np.isnan(metrics.AP))
        for name in ("AP", "AP50", "AP75"):
            pl_module.log(name, getattr(metrics, name))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print what the AP says about the model."""
        assert isinstance(pl_module, TrainingModule)
        if self.without_ap:
            averaged = pl_module.recipe.ema > 0
            say(self.console, which_is_the_model(self.epochs, self.without_ap, averaged), "yellow")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Print the same if the user stopped the training."""
        if isinstance(exception, Interrupted):
            self.on_train_end(trainer, pl_module)


def _gathered(found: dict[int, Detections], world: int) -> dict[int, Detections]:
    """Gather the detections of all ranks; images that pad a rank's share appear twice, and count once."""
    parts: list[dict[int, Detections]] = [{}] * world
    torch.distributed.all_gather_object(parts, found)
    return {place: detections for part in parts for place, detections in part.items()}


class FirstEpoch(Callback):
    """Warns after the first epoch about problems that training longer cannot fix."""

    def __init__(self, console: Console, dataset: DetectionDataset) -> None:
        self.console = console
        self.classes = dataset.classes
        self.boxes = np.bincount(dataset.labels, minlength=len(dataset.classes))
        self.matched: Tensor | int = 0
        self.predicted: Tensor | int = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        """Add up the step's counts by class."""
        if trainer.current_epoch == 0:
            self.matched = self.matched + outputs["matched"]  # on their device: only the end of the epoch reads them
            self.predicted = self.predicted + outputs["predicted"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the warnings after the first epoch."""
        if trainer.current_epoch == 0:
            matched, predicted = (np.atleast_1d(torch.as_tensor(x).cpu()) for x in (self.matched, self.predicted))
            for line in supervision_warnings(self.classes, self.boxes, matched, predicted):
                say(self.console, line, "yellow")


def supervision_warnings(
    classes: Sequence[str], boxes: NDArray[np.int64], matched: NDArray[np.int64], predicted: NDArray[np.int64]
) -> list[str]:
    """Find problems in an epoch's counts by class: boxes of the data, anchors matched, and classes predicted there.

    ``predicted`` may have one more column, for background.
    """
    if not boxes.sum():
        return []
    if not matched.sum():
        return [
            "warning: 0 anchors were matched with any object in the first epoch: no boxes are learned. Are the "
            "objects much smaller or larger than the anchors, once the image is resized? See anchors and matcher."
        ]
    lines = []
    never = [name for name, count, found in zip(classes, boxes, matched, strict=True) if count and not found]
    if never:
        lines.append(f"warning: no anchor was matched with any object of {', '.join(never)} in the first epoch.")
    names = [*classes, "background"]
    seen = [names[column] for column in np.flatnonzero(predicted)]
    if len(seen) == 1 and (seen[0] == "background" or np.count_nonzero(matched) > 1):
        lines.append(
            f"warning: one class is predicted everywhere: every matched anchor says {seen[0]} in the first epoch."
        )
    return lines
