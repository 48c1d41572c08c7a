"""Losses of detectors: plain functions with an element-wise core, computed in at least float32.

Each declares what it compares: ``info(loss)`` tells, ``available()`` lists them all, ``box_loss`` marks one's own.
"""

from boxwright.losses._class_weights import ClassWeighting, class_weights
from boxwright.losses._reduction import LossInfo, LossKind, Reduction, box_loss, info
from boxwright.losses.box import (
    ciou_loss,
    diou_loss,
    distribution_focal_loss,
    giou_loss,
    iou_loss,
    l1_loss,
    smooth_l1_loss,
)
from boxwright.losses.classification import cross_entropy, quality_focal_loss

_LOSSES = (
    cross_entropy,
    quality_focal_loss,
    l1_loss,
    smooth_l1_loss,
    iou_loss,
    giou_loss,
    diou_loss,
    ciou_loss,
    distribution_focal_loss,
)


def available() -> dict[str, LossKind]:
    """Names of all losses with what they compare: sigmoid, softmax, deltas, boxes or distribution."""
    return {loss.__name__: info(loss).kind for loss in _LOSSES}


__all__ = [
    "ClassWeighting",
    "LossInfo",
    "LossKind",
    "Reduction",
    "available",
    "box_loss",
    "ciou_loss",
    "class_weights",
    "cross_entropy",
    "diou_loss",
    "distribution_focal_loss",
    "giou_loss",
    "info",
    "iou_loss",
    "l1_loss",
    "quality_focal_loss",
    "smooth_l1_loss",
]
