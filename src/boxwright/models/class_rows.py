"""Find which rows of a detector's weights belong to which class, to transfer them by class name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from boxwright.models import TwoStageDetector, build_detector
from boxwright.models.detector import Detector
from boxwright.recipes import Recipe

_BOXES_OF_CLASSES = "net.roi.deltas."


class ClassRows(NamedTuple):
    """The rows of a weight or bias: ``groups`` (a cell's anchors) x (the classes in order, then ``others``)."""

    groups: int
    """0 if the order of the classes is unknown."""
    each: int
    """Rows per class in a group: 1 for logits, a box's deltas for a regressor per class."""
    others: int
    """Rows of a group after those of the classes: a softmax's background."""

    def width(self, classes: int) -> int:
        """Return the number of rows in a group."""
        return classes * self.each + self.others


def plain_detector(recipe: Recipe) -> Detector:
    """Build the recipe's detector with one more class and no frozen stage, so that no BatchNorm is folded.

    It is needed only for its structure, and does not change the caller's random numbers.
    """
    classes = [*recipe.classes, "one more"]
    with torch.random.fork_rng(devices=[]):
        return build_detector(recipe.replace(classes=classes, freeze=0), pretrained=False)


def class_rows(detector: Detector, larger: Mapping[str, Tensor]) -> dict[str, ClassRows]:
    """Find the tensors that depend on the number of classes, by name.

    ``larger``: the tensors of the detector with one more class, see ``plain_detector``.
    """
    own, classes = detector.state_dict(), len(detector.classes)
    by_class = isinstance(detector, TwoStageDetector)
    found: dict[str, ClassRows] = {}
    for name, more in larger.items():
        value = own.get(name)
        if value is None or value.shape == more.shape:
            continue
        found[name] = ClassRows(0, 0, 0)
        if value.ndim == more.ndim > 0 and value.shape[1:] == more.shape[1:] and len(more) > len(value):
            grown = len(more) - len(value)
            groups, each = (1, grown) if by_class and name.startswith(_BOXES_OF_CLASSES) else (grown, 1)
            others = len(value) // groups - classes * each
            if others >= 0 and groups * (classes * each + others) == len(value):
                found[name] = ClassRows(groups, each, others)
    return found


def carry_rows(
    rows: ClassRows, theirs: Tensor, their_classes: Sequence[str], ours: Tensor, our_classes: Sequence[str]
) -> Tensor | None:
    """Copy the rows of classes that both have, and those of no class, from ``theirs`` to ``ours``.

    Returns None if ``theirs`` has another number of rows per class, or other columns.
    """
    width = rows.width(len(their_classes))
    if theirs.shape != (rows.groups * width, *ours.shape[1:]):
        return None
    source = theirs.to(ours).reshape(rows.groups, width, *ours.shape[1:])
    carried = ours.clone().reshape(rows.groups, rows.width(len(our_classes)), *ours.shape[1:])
    label = {name: place for place, name in enumerate(their_classes)}
    for place, name in enumerate(our_classes):
        if name in label:
            carried[:, _of_class(rows, place)] = source[:, _of_class(rows, label[name])]
    carried[:, len(our_classes) * rows.each :] = source[:, len(their_classes) * rows.each :]
    return carried.reshape(ours.shape)


def _of_class(rows: ClassRows, label: int) -> slice:
    return slice(label * rows.each, (label + 1) * rows.each)
