"""The training module: a detector under its criterion, in Lightning's terms."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any, NoReturn

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from boxwright._util.devices import is_near, seed_generators
from boxwright.choices import required
from boxwright.criterion import Losses
from boxwright.criterion.normalizers import least_divisor
from boxwright.data.loading import Batch
from boxwright.evaluate.thresholds import Thresholds
from boxwright.models import Detector
from boxwright.models.detector import to_image
from boxwright.training.curves import Curves
from boxwright.training.late import Late
from boxwright.training.layer_rates import Rate, layer_rates, parameter_groups
from boxwright.training.nonfinite import NonFiniteError, check_losses
from boxwright.training.schedule import Progress, lr_factor
from boxwright.training.step import supervise
from boxwright.training.targets import check_targets
from boxwright.training.transfer import Parcel, copy_to
from boxwright.types import DenseOutputs, Detections, TwoStageOutputs

_SHORT = {
    "classification": "cls",
    "distribution": "dfl",
    "centerness": "ctr",
    "proposals classification": "rpn_cls",
    "proposals box": "rpn_box",
    "proposals distribution": "rpn_dfl",
}
"""Columns of metrics.csv for the terms of a loss; others have the term's name."""

_LEAST_SCALE = 2.0**-10
"""Of fp16's losses, which starts at 2^16 and is halved where a gradient overflows."""
_NOT_IN_THE_BAR = ("hard_positives", "positive_share", "grad_norm")


class TrainingModule(L.LightningModule):
    """One forward gives the losses in training, and losses and detections in validation."""

    def __init__(
        self,
        detector: Detector,
        criterion: nn.Module,
        progress: Progress,
        seed: int = 0,
        rank: int = 0,
        started: Collection[str] = (),
    ) -> None:
        """``started``: parameters of the detector that came with a start, see ``layer_lr``."""
        super().__init__()
        self.detector = detector
        self.criterion = criterion
        self.recipe = detector.recipe
        self.progress = progress
        self.seeds = (seed, rank)
        self.started = frozenset(started)
        self.found: dict[int, Detections] = {}
        """Detections of the validation that runs, in pixels of the images, by place in the data set."""
        self.thresholds: Thresholds | None = None
        """Of the latest validation, as long as the weights are those that it saw."""
        self._divisor: float | Tensor = 0.0
        self._batch: Batch | None = None
        self._weights: list[nn.Parameter] = []
        self._finite: Late[tuple[Batch, int]] = Late()
        self.curves = Curves()

    @property
    def reads_late(self) -> bool:
        """Whether a step's numbers are looked at a step later, for the sake of the device."""
        return not is_near(self.device)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What keeps gradients within fp16's range."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def on_before_batch_transfer(self, batch: Batch | Parcel, dataloader_idx: int) -> Batch | Parcel:
        """Raise TargetsError for what can't be learnt."""
        content = batch.open() if isinstance(batch, Parcel) else batch
        check_targets(content, len(self.recipe.classes), validation=self.trainer.validating)
        return batch

    def transfer_batch_to_device(self, batch: Batch | Parcel, device: torch.device, dataloader_idx: int) -> Batch:
        """Lightning's own copies tensors without waiting, but not what has a ``to`` of its own, as targets have."""
        return copy_to(batch, device)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the inputs on the device, where it is its work."""
        return batch.resampled()

    def on_train_start(self) -> None:
        self._weights = list(self.parameters())  # to go through the modules takes longer than a step's norms
        self.curves.start(self.trainer.global_step)

    def on_train_epoch_start(self) -> None:
        self.thresholds = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the thresholds with the weights that they are for, in plain values."""
        if self.thresholds is not None:
            checkpoint["thresholds"] = asdict(self.thresholds)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """What the step draws (dropout) depends on seed, rank, epoch and batch alone: a resumed run draws the same."""
        words = np.random.SeedSequence((*self.seeds, self.current_epoch, batch_idx)).generate_state(2)
        seed_generators(int(words.view(np.int64)[0]), self.device)
        self._batch = batch

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        losses, outputs = self._losses(batch)
        if self.reads_late:
            self._look_back()
            self._finite.send(losses.total.isfinite(), (batch, self.global_step))
        else:
            check_losses(self, batch, outputs, losses, self.global_step)
        self.curves.note(_figures(losses))
        self.curves.note_lr(self.trainer.optimizers[0].param_groups[0]["lr"])
        return {
            "loss": self._share_of_step(losses),
            "matched": losses.stats.matched,
            "predicted": losses.stats.predicted,
        }

    def _look_back(self) -> None:
        """Read what earlier steps sent, when the criterion has waited for the device anyway."""
        self.curves.write(self.trainer)
        for finite, (batch, step) in self._finite.read():
            if not finite:
                self._explain(batch, step)

    def _explain(self, batch: Batch, step: int) -> NoReturn:
        """Raise NonFiniteError for an earlier batch, whose losses are taken once more to find out where."""
        if not torch.distributed.is_initialized():
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                losses, outputs = self._losses(batch)
                check_losses(self, batch, outputs, losses, step)
        raise NonFiniteError(batch, ["loss or gradient"], [], step)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.curves.send(self.trainer)
        if not self.reads_late or self.trainer.is_last_batch or self.trainer.should_stop:
            self.curves.write(self.trainer)  # the line of the epoch, and validation's row, are to come after
        latest = self.curves.take_latest()
        if latest:  # for the progress bar, and whoever asks the trainer
            aside = {name: latest.pop(name) for name in _NOT_IN_THE_BAR}
            self.log_dict(latest, prog_bar=True, logger=False, on_step=True, on_epoch=False, batch_size=1)
            self.log_dict(aside, logger=False, on_step=True, on_epoch=False, batch_size=1)

    def on_train_epoch_end(self) -> None:
        """Raise NonFiniteError for a loss of the last step, and for gradients that overflow in fp16 at any scale."""
        self._look_back()
        if self._batch is not None and self.scaler is not None and self.scaler.get_scale() < _LEAST_SCALE:
            terms = [f"gradients in fp16, even with the loss scaled by {self.scaler.get_scale():g}"]
            raise NonFiniteError(self._batch, terms, [], self.global_step)

    def _share_of_step(self, losses: Losses) -> Tensor:
        """The loss to differentiate: with accumulation the sum, which is divided once the step's batches are done."""
        if self.recipe.accumulate == 1:
            return losses.total
        self._divisor = self._divisor + losses.divisor
        return losses.total * losses.divisor.clamp(min=least_divisor()) * self.trainer.accumulate_grad_batches

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients of the accumulated sums by their common divisor."""
        if isinstance(self._divisor, Tensor):
            torch._foreach_div_(self._gradients(), self._divisor.clamp(min=least_divisor()))
            self._divisor = 0.0

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the gradient's norm. Raises NonFiniteError where it has none and no scaler leaves out the step."""
        norm = torch.nn.utils.get_total_norm(self._gradients())
        batch = self._batch if self.scaler is None else None
        if batch is not None and self.reads_late:
            self._finite.send(norm.isfinite(), (batch, self.global_step))
            if optimizer.param_groups[0].get("fused"):  # which then leaves out the step
                self.trainer.optimizers[0].found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        elif batch is not None and not norm.isfinite():
            raise NonFiniteError(batch, [f"gradient (norm {norm.item()})"], [], self.global_step)
        self.curves.note({"grad_norm": norm})
        if self.recipe.clip:
            torch.nn.utils.clip_grads_with_norm_(self._weights, self.recipe.clip, norm)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._weights if p.grad is not None]

    def validation_step(self, batch: Batch, _: int) -> None:
        losses, outputs = self._losses(batch)
        figures = {f"val_{name}": value for name, value in _figures(losses).items()}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=1)
        size = (batch.images.shape[2], batch.images.shape[3])
        found = self.detector.detect(outputs, size=size, shown=batch.shown)
        for place, (height, width), detections in zip(batch.indices.tolist(), batch.sizes.tolist(), found, strict=True):
            frame = self.recipe.input_size.whole(height, width)
            self.found[place] = to_image(detections, frame, (height, width))

    def _losses(self, batch: Batch) -> tuple[Losses, DenseOutputs | TwoStageOutputs]:
        return supervise(self.detector, self.criterion, batch.images, batch.targets, batch.shown)

    def configure_optimizers(self) -> Any:
        names = [name for name, _ in self.detector.named_parameters()]
        rates = layer_rates(names, self.recipe, self.started)
        groups = parameter_groups(self.detector, self.recipe.weight_decay, rates)
        optimizer = required("optimizer", self.recipe.optimizer)(groups, lr=self.recipe.lr)
        schedule = required("schedule", self.recipe.schedule)

        def factor_of(rate: Rate) -> Callable[[int], float]:
            return lambda _: rate.at(self.progress.done, lr_factor(self.progress.done, self.recipe.warmup, schedule))

        factors = LambdaLR(optimizer, [factor_of(Rate(*group.get("rate", ()))) for group in groups])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factors, "interval": "step"}}


def _figures(losses: Losses) -> dict[str, Tensor]:
    """Scalars by the columns of metrics.csv."""
    stats = losses.stats
    return {
        "loss": losses.total.detach(),
        **{_SHORT.get(name, name): term.detach() for name, term in losses.terms.items()},
        "positives": stats.positives.float(),
        "hard_positives": stats.hard_positives,
        "positive_share": stats.positive_share,
    }
