"""A loss that is infinite or NaN: its value, its cause, and a file that reproduces it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from boxwright.criterion import Losses
from boxwright.data import DetectionDataset
from boxwright.data.loading import Batch
from boxwright.errors import BoxwrightError
from boxwright.models import build_detector
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.runs.checkpoints import read_checkpoint, write_checkpoint
from boxwright.training.step import supervise
from boxwright.types import Targets

if TYPE_CHECKING:
    from boxwright.training.module import TrainingModule

_SHOWN = 5


class NonFiniteError(Exception):
    """Raised in a step.

    Holds the batch, the terms that are not finite, the images (rows of the batch) they come from, and the number of the
    step.
    """

    def __init__(self, batch: Batch, terms: list[str], rows: list[int], step: int) -> None:
        super().__init__()
        self.batch, self.terms, self.rows, self.step = batch, terms, rows, step


def check_losses(module: TrainingModule, batch: Batch, outputs: Any, losses: Losses, step: int) -> None:
    """Raise NonFiniteError unless the loss is finite; finds the images by computing the losses of each alone."""
    if torch.isfinite(losses.total):
        return
    rows: list[int] = []
    if not torch.distributed.is_initialized():  # with several ranks, computing an image alone would wait for the others
        anchors = module.detector.anchors_of((batch.images.shape[2], batch.images.shape[3]))
        with torch.no_grad():
            alone = [
                module.criterion(anchors, outputs.of_image(row), batch.targets.of_image(row)).total
                for row in range(len(batch.images))
            ]
        rows = [row for row, total in enumerate(alone) if not total.isfinite()]
    raise NonFiniteError(batch, _not_finite(losses) or ["total loss"], rows, step)


def _not_finite(losses: Losses) -> list[str]:
    """Return the terms that are not finite."""
    return [f"{name} loss ({term.item()})" for name, term in losses.terms.items() if not term.isfinite()]


def explain(error: NonFiniteError, module: TrainingModule, dataset: DetectionDataset, run: Run) -> BoxwrightError:
    """Write nonfinite.ckpt, and describe what happened."""
    path = run.folder / "nonfinite.ckpt"
    _dump(error.batch, module, path)
    spoilt = [name for name, value in module.detector.named_parameters() if not value.isfinite().all()]
    rows = error.rows or range(len(error.batch.images))
    lines = [f"step {error.step}: not finite: {', '.join(error.terms)}"]
    lines += [_describe(error.batch, row, dataset) for row in rows[:_SHOWN]]
    lines += [f"and {len(rows) - _SHOWN} more images"] if len(rows) > _SHOWN else []
    lines.append(f"the weights were not finite either, first {spoilt[0]}" if spoilt else "the weights were finite")
    lines.append(
        f"the batch and the weights are in {path}: boxwright.training.replay({str(path)!r}) repeats the losses"
    )
    lines.append("often a smaller lr, a longer warmup or float32 precision helps")
    return BoxwrightError("; ".join(lines))


def replay(path: str | Path) -> Losses:
    """Compute the losses of a nonfinite.ckpt again, on the CPU, with gradients to inspect.

    Network and criterion come from the recipe.yaml of the run folder that contains it.
    """
    content = read_checkpoint(Path(path))
    recipe = Run.of(path).recipe
    detector, criterion = build_detector(recipe, pretrained=False), build_criterion(recipe)
    for name, value in content["criterion"].items():
        owner, _, buffer = name.rpartition(".")
        setattr(criterion.get_submodule(owner), buffer, value)
    detector.load_state_dict(content["detector"])
    targets = Targets(*(content[name] for name in Targets._fields))
    return supervise(detector.train(), criterion, content["images"], targets, content["valid_size"])[0]


def _dump(batch: Batch, module: TrainingModule, path: Path) -> None:
    content = {
        "images": batch.images,
        "indices": batch.indices,
        **batch.targets._asdict(),
        "detector": module.detector.state_dict(),
        "criterion": dict(module.criterion.named_buffers()),
        "valid_size": batch.valid_size,
    }
    write_checkpoint(
        path, {name: value.cpu() if isinstance(value, Tensor) else value for name, value in content.items()}
    )


def _describe(batch: Batch, row: int, dataset: DetectionDataset) -> str:
    real = batch.targets.labels[row] >= 0
    boxes = batch.targets.boxes[row][real].cpu().round(decimals=1).tolist()
    labels = [dataset.classes[label] for label in batch.targets.labels[row][real].tolist()]
    valid_size = ", ".join(f"{label} {box}" for label, box in list(zip(labels, boxes, strict=True))[:_SHOWN])
    more = f" and {len(boxes) - _SHOWN} more" if len(boxes) > _SHOWN else ""
    return f"{dataset.name(int(batch.indices[row]))}: boxes in pixels of the input: {valid_size or 'none'}{more}"
