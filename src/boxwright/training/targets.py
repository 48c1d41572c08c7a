"""Targets that cannot be learned, found on the host before they go to the device: no wait, on any device."""

from __future__ import annotations

import torch

from boxwright.data import DetectionDataset
from boxwright.data.loading import Batch
from boxwright.errors import DataError

_SHOWN = 5


class TargetsError(Exception):
    """Raised for a batch: what is wrong, by the image's index in its data set."""

    def __init__(self, faults: list[tuple[int, str]], *, validation: bool) -> None:
        super().__init__()
        self.faults = faults
        self.validation = validation

    def explained(self, datasets: list[DetectionDataset]) -> DataError:
        """Name the images; ``datasets``: training, and validation if any."""
        dataset = datasets[1 if self.validation else 0]
        lines = [f"{dataset.name(place)}: {text}" for place, text in self.faults[:_SHOWN]]
        more = f"; and {len(self.faults) - _SHOWN} more" if len(self.faults) > _SHOWN else ""
        return DataError(f"boxes that can't be learned: {'; '.join(lines)}{more}")


def check_targets(batch: Batch, classes: int, *, validation: bool) -> None:
    """Raise TargetsError if a label is not one of the classes, or a box is not finite or has no area."""
    boxes, labels = batch.targets.boxes, batch.targets.labels
    wrong_label = (labels < -1) | (labels >= classes)
    sound = boxes.isfinite().all(-1) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    wrong = wrong_label | (labels >= 0) & ~sound
    if not wrong.any():
        return
    faults = []
    for row, box in torch.nonzero(wrong).tolist():
        where = f"box {boxes[row, box].tolist()}, in pixels of the input"
        label = int(labels[row, box])
        if wrong_label[row, box]:
            what = f"label {label} is none of 0..{classes - 1}"
        else:
            what = "has no area" if boxes[row, box].isfinite().all() else "is not finite"
        faults.append((int(batch.indices[row]), f"{where}, {what}"))
    raise TargetsError(faults, validation=validation)
