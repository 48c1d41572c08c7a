"""The training module: a detector and its criterion as a Lightning module."""

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
from boxwright.training.optimizers import make_optimizer
from boxwright.training.schedule import Progress, find_schedule, lr_factor
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
"""Columns of metrics.csv for the terms of a loss; other terms use their own name."""

_LEAST_SCALE = 2.0**-10
"""Lower limit of fp16's loss scale, which starts at 2^16 and is halved where a gradient overflows."""
_NOT_IN_THE_BAR = ("hard_positives", "positive_share", "grad_norm")


class TrainingModule(L.LightningModule):
    """Module whose one forward pass gives the losses in training, and losses and detections in validation."""

    def __init__(
        self,
        detector: Detector,
        criterion: nn.Module,
        progress: Progress,
        seed: int = 0,
        rank: int = 0,
        started: Collection[str] = (),
    ) -> None:
        """Combine detector and criterion; ``started``: parameters that came with a start, see ``layer_lr``."""
        super().__init__()
        self.detector = detector
        self.criterion = criterion
        self.recipe = detector.recipe
        self.progress = progress
        self.seeds = (seed, rank)
        self.started = frozenset(started)
        self.found: dict[int, Detections] = {}
        """Detections of the current validation, in pixels of the images, by index in the data set."""
        self.thresholds: Thresholds | None = None
        """Thresholds of the latest validation, as long as the weights are the same."""
        self._divisor: float | Tensor = 0.0
        self._batch: Batch | None = None
        self._weights: list[nn.Parameter] = []
        self._finite: Late[tuple[Batch, int]] = Late()
        self.curves = Curves()

    @property
    def reads_late(self) -> bool:
        """Whether a step's numbers are read one step later, so that the device does not wait."""
        return not is_near(self.device)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """Gradient scaler of fp16; None in other precisions."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def on_before_batch_transfer(self, batch: Batch | Parcel, dataloader_idx: int) -> Batch | Parcel:
        """Raise TargetsError for targets that cannot be learned."""
        content = batch.open() if isinstance(batch, Parcel) else batch
        check_targets(content, len(self.recipe.classes), validation=self.trainer.validating)
        return batch

    def transfer_batch_to_device(self, batch: Batch | Parcel, device: torch.device, dataloader_idx: int) -> Batch:
        """Copy the batch without waiting, which Lightning does with tensors but not with objects that have a ``to``."""
        return copy_to(batch, device)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the inputs on the device, if that is done there."""
        return batch.resampled()

    def on_train_start(self) -> None:
        """Prepare the curves and the list of weights."""
        self._weights = list(self.parameters())  # traversing the modules takes longer than a step's norms
        self.curves.start(self.trainer.global_step)

    def on_train_epoch_start(self) -> None:
        """Forget the thresholds, which are those of other weights."""
        self.thresholds = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the thresholds with the weights that they belong to, as plain values."""
        if self.thresholds is not None:
            checkpoint["thresholds"] = asdict(self.thresholds)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step's random numbers (dropout) by seed, rank, epoch and batch: a resumed run draws the same."""
        words = np.random.SeedSequence((*self.seeds, self.current_epoch, batch_idx)).generate_state(2)
        seed_generators(int(words.view(np.int64)[0]), self.device)
        self._batch = batch

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        """Compute the losses of a batch."""
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
        """Read what earlier steps sent, once the criterion has waited for the device anyway."""
        self.curves.write(self.trainer)
        for finite, (batch, step) in self._finite.read():
            if not finite:
                self._explain(batch, step)

    def _explain(self, batch: Batch, step: int) -> NoReturn:
        """Raise NonFiniteError for an earlier batch, whose losses are computed again to find the cause."""
        if not torch.distributed.is_initialized():
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                losses, outputs = self._losses(batch)
                check_losses(self, batch, outputs, losses, step)
        raise NonFiniteError(batch, ["loss or gradient"], [], step)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Send the step's figures."""
        self.curves.send(self.trainer)
        if not self.reads_late or self.trainer.is_last_batch or self.trainer.should_stop:
            self.curves.write(self.trainer)  # written now, so that the epoch's line and validation's row come after it
        latest = self.curves.take_latest()
        if latest:  # for the progress bar, and for anyone who asks the trainer
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
        """Return the loss to differentiate: with accumulation the sum, which is divided after the step's last batch."""
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
        """Limit the gradient's norm; raises NonFiniteError if it is not finite and no scaler skips the step."""
        norm = torch.nn.utils.get_total_norm(self._gradients())
        batch = self._batch if self.scaler is None else None
        if batch is not None and self.reads_late:
            self._finite.send(norm.isfinite(), (batch, self.global_step))
            if optimizer.param_groups[0].get("fused"):  # which then skips the step
                self.trainer.optimizers[0].found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        elif batch is not None and not norm.isfinite():
            raise NonFiniteError(batch, [f"gradient (norm {norm.item()})"], [], self.global_step)
        self.curves.note({"grad_norm": norm})
        if self.recipe.clip:
            torch.nn.utils.clip_grads_with_norm_(self._weights, self.recipe.clip, norm)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._weights if p.grad is not None]

    def validation_step(self, batch: Batch, _: int) -> None:
        """Compute losses and detections of a batch."""
        losses, outputs = self._losses(batch)
        figures = {f"val_{name}": value for name, value in _figures(losses).items()}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=1)
        size = (batch.images.shape[2], batch.images.shape[3])
        found = self.detector.detect(outputs, size=size, valid_size=batch.valid_size)
        for place, (height, width), detections in zip(batch.indices.tolist(), batch.sizes.tolist(), found, strict=True):
            frame = self.recipe.input_size.whole(height, width)
            self.found[place] = to_image(detections, frame, (height, width))

    def _losses(self, batch: Batch) -> tuple[Losses, DenseOutputs | TwoStageOutputs]:
        return supervise(self.detector, self.criterion, batch.images, batch.targets, batch.valid_size)

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the schedule."""
        names = [name for name, _ in self.detector.named_parameters()]
        rates = layer_rates(names, self.recipe, self.started)
        groups = parameter_groups(self.detector, self.recipe.weight_decay, rates)
        optimizer = make_optimizer(self.recipe.optimizer, groups, self.recipe.lr)
        schedule = find_schedule(self.recipe.schedule)

        def factor_of(rate: Rate) -> Callable[[int], float]:
            """Return the learning-rate factor over the training for one rate."""
            return lambda _: rate.at(self.progress.done, lr_factor(self.progress.done, self.recipe.warmup, schedule))

        factors = LambdaLR(optimizer, [factor_of(Rate(*group.get("rate", ()))) for group in groups])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factors, "interval": "step"}}


def _figures(losses: Losses) -> dict[str, Tensor]:
    """Return scalars by the columns of metrics.csv."""
    stats = losses.stats
    return {
        "loss": losses.total.detach(),
        **{_SHORT.get(name, name): term.detach() for name, term in losses.terms.items()},
        "positives": stats.positives.float(),
        "hard_positives": stats.hard_positives,
        "positive_share": stats.positive_share,
    }
