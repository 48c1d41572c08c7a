"""Losses of detectors: plain functions with an element-wise core, computed in at least float32.

Each declares what it compares, by the decorators of ``boxwright.parts``; ``available()`` lists them all.
"""

from typing import Any

from boxwright.losses._class_weights import ClassWeighting, class_weights
from boxwright.losses._reduction import Reduction, initial_state
from boxwright.losses.box import ciou_loss, diou_loss, giou_loss, iou_loss
from boxwright.losses.deltas import balanced_l1_loss, focal_l1_loss, l1_loss, l2_loss, smooth_l1_loss
from boxwright.losses.distribution import distribution_focal_loss
from boxwright.losses.iou_variants import (
    alpha_iou_loss,
    eiou_loss,
    focal_eiou_loss,
    inner_iou_loss,
    mpdiou_loss,
    siou_loss,
    wiou_loss,
)
from boxwright.losses.sigmoid import (
    binary_cross_entropy,
    ghm_loss,
    quality_focal_loss,
    sigmoid_focal_loss,
    varifocal_loss,
)
from boxwright.losses.softmax import cross_entropy, poly_loss, seesaw_loss, softmax_focal_loss
from boxwright.parts import BoxLossInfo, box_loss, class_loss, part_info

_LOSSES = (
    cross_entropy,
    softmax_focal_loss,
    poly_loss,
    seesaw_loss,
    binary_cross_entropy,
    sigmoid_focal_loss,
    quality_focal_loss,
    varifocal_loss,
    ghm_loss,
    l1_loss,
    l2_loss,
    smooth_l1_loss,
    balanced_l1_loss,
    focal_l1_loss,
    iou_loss,
    giou_loss,
    diou_loss,
    ciou_loss,
    eiou_loss,
    focal_eiou_loss,
    siou_loss,
    alpha_iou_loss,
    wiou_loss,
    mpdiou_loss,
    inner_iou_loss,
    distribution_focal_loss,
)


def available() -> dict[str, str]:
    """List all losses by name with what they compare: sigmoid, softmax, deltas, boxes or distribution.

    Examples:
        >>> bw.losses.available()["giou_loss"]
        'boxes'
    """
    infos: dict[str, Any] = {loss.__name__: part_info(loss) for loss in _LOSSES}
    return {name: info.space if isinstance(info, BoxLossInfo) else info.kind for name, info in infos.items()}


__all__ = [
    "ClassWeighting",
    "Reduction",
    "alpha_iou_loss",
    "available",
    "balanced_l1_loss",
    "binary_cross_entropy",
    "box_loss",
    "ciou_loss",
    "class_loss",
    "class_weights",
    "cross_entropy",
    "diou_loss",
    "distribution_focal_loss",
    "eiou_loss",
    "focal_eiou_loss",
    "focal_l1_loss",
    "ghm_loss",
    "giou_loss",
    "initial_state",
    "inner_iou_loss",
    "iou_loss",
    "l1_loss",
    "l2_loss",
    "mpdiou_loss",
    "poly_loss",
    "quality_focal_loss",
    "seesaw_loss",
    "sigmoid_focal_loss",
    "siou_loss",
    "smooth_l1_loss",
    "softmax_focal_loss",
    "varifocal_loss",
    "wiou_loss",
]
