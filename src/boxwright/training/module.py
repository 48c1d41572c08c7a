"""The training module: a detector under its criterion, in Lightning's terms."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from boxwright.criterion import DenseCriterion, Losses
from boxwright.data.loading import Batch
from boxwright.data.transforms import Frame
from boxwright.models.detector import DenseDetector, to_image
from boxwright.training.schedule import Progress, lr_factor
from boxwright.types import DenseOutputs, Detections


class TrainingModule(L.LightningModule):
    """One forward gives the losses in training, and losses and detections in validation."""

    def __init__(self, detector: DenseDetector, criterion: DenseCriterion, progress: Progress) -> None:
        super().__init__()
        self.detector = detector
        self.criterion = criterion
        self.recipe = detector.recipe
        self.progress = progress
        self.found: dict[int, Detections] = {}
        """Detections of the validation that runs, in pixels of the images, by place in the data set."""

    def training_step(self, batch: Batch, _: int) -> Tensor:
        losses, _outputs = self._losses(batch)
        self._log(losses, "")
        self.log("lr", self.optimizers().param_groups[0]["lr"], prog_bar=True)  # type: ignore[union-attr]
        return losses.total

    def validation_step(self, batch: Batch, _: int) -> None:
        losses, outputs = self._losses(batch)
        self._log(losses, "val_")
        for place, (height, width), found in zip(
            batch.indices.tolist(), batch.sizes.tolist(), self.detector.detect(outputs), strict=True
        ):
            frame = Frame.whole(height, width, self.recipe.image_size, self.recipe.resize)
            self.found[place] = to_image(found, frame, (height, width))

    def _losses(self, batch: Batch) -> tuple[Losses, DenseOutputs]:
        outputs = self.detector(self.detector.normalize(batch.images))
        return self.criterion(self.detector.anchors, outputs, batch.targets), outputs

    def _log(self, losses: Losses, prefix: str) -> None:
        terms = {"loss": losses.total, "cls": losses.classification, "box": losses.box}
        if self.criterion.distribution_weight:
            terms["dfl"] = losses.distribution
        terms["positives"] = losses.positives.float()
        training = not prefix
        self.log_dict(
            {prefix + name: value.detach() for name, value in terms.items()},
            prog_bar=training,
            on_step=training,
            on_epoch=not training,
            batch_size=1,
        )

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.detector, self.recipe.weight_decay)
        optimizer: torch.optim.Optimizer
        if self.recipe.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, lr=self.recipe.lr, momentum=0.9)
        else:
            optimizer = torch.optim.AdamW(groups, lr=self.recipe.lr)
        schedule = LambdaLR(optimizer, lambda _: lr_factor(self.progress.done, self.recipe.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable weights of two and more dimensions decay; biases and norms don't."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
