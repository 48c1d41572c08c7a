"""The parts that can be named in a recipe: boxwright's own, with their options, and those of installed packages.

Nothing here imports torch or a part, so that the command line can check a recipe at once.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple


class Entry(NamedTuple):
    """A part that has a name."""

    module: str
    attribute: str
    """Its name in the module, with dots."""
    options: tuple[str, ...] | None
    """What ``name:option=value`` may set; None: known once it is imported."""
    package: str | None = None
    """The installed package that adds it; None: boxwright."""

    @property
    def source(self) -> str:
        return f"{self.module}:{self.attribute}"


def _own(text: str) -> Entry:
    """``"losses:ciou_loss(variant, gradient)"`` as an entry."""
    found = re.fullmatch(r"([\w.]+):([\w.]+)\((.*)\)", text)
    assert found is not None
    return Entry(f"boxwright.{found[1]}", found[2], tuple(re.findall(r"\w+", found[3])))


# recipe key -> name -> where the part is, with its options; None: the key's value has no part of its own
_BUILT_IN: dict[str, dict[str, str | None]] = {
    "anchors": {
        "squares": "anchors:AnchorSpec.squares(strides, scale)",
        "shapes": "anchors:AnchorSpec.shapes(strides, levels)",
        "ssd300": "anchors:SSD300(clip, fitted, rounding)",
        "ssd300_v1": "anchors:SSD300_V1(clip, fitted, rounding)",
        "ssd300_coco": "anchors:SSD300_COCO(clip, fitted, rounding)",
        "ssd300_tf": "anchors:SSD300_TF(clip, fitted, rounding)",
        "ssd512": "anchors:SSD512(clip, fitted, rounding)",
        "ssd_bounds": "anchors:AnchorSpec.from_bounds(s_min, s_max, image_size, strides, ratios, clip, rule, first)",
        "tiny_441": "anchors:TINY_441(clip, fitted, rounding)",
        "retinanet": "anchors:RETINANET(clip, fitted, rounding)",
        "rpn": "anchors:RPN(clip, fitted, rounding)",
        "torchvision": "anchors:AnchorSpec.torchvision(sizes, ratios, strides)",
    },
    "matcher": {
        "atss": "matching:match_atss(top, ignore_ioa)",
        "iou": "matching:match_iou(positive, negative, strict, force, ignore_ioa)",
        "points": "matching:match_points(reach, radius, ignore_ioa)",
        "ssd_tf": "matching:match_ssd_tf(threshold, no_annotation, ignore_ioa)",
        "task_aligned": "matching:match_task_aligned(top, alpha, beta, ignore_ioa)",
    },
    "coder": {
        "delta": "coding:DeltaCoder(weights)",
        "distance": "coding:DistanceCoder(unit)",
        "distribution": "coding:DistributionCoder(bins, step)",
    },
    "miner": {
        "none": None,
        "hard_negatives": "mining:hard_negatives(ratio, scope, min_negatives, cutoff)",
        "hard_examples": "mining:hard_examples(count)",
        "hard_positives": "mining:hard_positives(count, keep, ratio)",
        "ohem": "mining:ohem(count)",
        "random_balanced": "mining:random_balanced(count, positive_fraction)",
    },
    "class_loss": {
        "cross_entropy": "losses:cross_entropy(label_smoothing)",
        "softmax_focal": "losses:softmax_focal_loss(gamma)",
        "poly": "losses:poly_loss(epsilon)",
        "seesaw": "losses:seesaw_loss(p, q)",
        "binary_cross_entropy": "losses:binary_cross_entropy(label_smoothing)",
        "sigmoid_focal": "losses:sigmoid_focal_loss(alpha, gamma)",
        "quality_focal": "losses:quality_focal_loss(beta)",
        "varifocal": "losses:varifocal_loss(alpha, gamma)",
        "ghm": "losses:ghm_loss(bins, momentum)",
    },
    "box_loss": {
        "smooth_l1": "losses:smooth_l1_loss(beta)",
        "l1": "losses:l1_loss()",
        "l2": "losses:l2_loss()",
        "balanced_l1": "losses:balanced_l1_loss(alpha, gamma, beta)",
        "focal_l1": "losses:focal_l1_loss(beta)",
        "iou": "losses:iou_loss(mode)",
        "giou": "losses:giou_loss()",
        "diou": "losses:diou_loss()",
        "ciou": "losses:ciou_loss(variant, gradient)",
        "eiou": "losses:eiou_loss()",
        "focal_eiou": "losses:focal_eiou_loss(gamma, detach)",
        "siou": "losses:siou_loss(theta)",
        "alpha_iou": "losses:alpha_iou_loss(alpha, kind)",
        "wiou": "losses:wiou_loss()",
        "mpdiou": "losses:mpdiou_loss(image_size)",
        "inner_iou": "losses:inner_iou_loss(ratio, kind)",
    },
    "augment": {"none": None, "light": None, "ssd": None},
    "sampling": {"uniform": None, "repeat_factor": "data.sampling:repeat_factors(threshold)"},
    "reader": {
        "auto": None,
        "voc": "data.readers.voc:VocReader()",
        "coco": "data.readers.coco:CocoReader()",
        "yolo": "data.readers.yolo:YoloReader()",
        "labelme": "data.readers.labelme:LabelmeReader()",
        "imagefolder": "data.readers.imagefolder:ImageFolderReader()",
        "createml": "data.readers.createml:CreateMLReader()",
        "tensorflow": "data.readers.tensorflow:TensorflowReader()",
        "openimages": "data.readers.openimages:OpenImagesReader()",
        "retinanet": "data.readers.retinanet:RetinanetReader()",
    },
    "optimizer": {"adamw": "training.optimizers:adamw(betas)", "sgd": "training.optimizers:sgd(momentum, nesterov)"},
    "schedule": {
        "cosine": "training.schedule:cosine(final)",
        "constant": "training.schedule:constant()",
        "steps": "training.schedule:steps(at, factor)",
    },
}

PART_KEYS = tuple(_BUILT_IN)
"""The recipe keys whose values name parts."""


@cache
def built_in(key: str) -> dict[str, Entry | None]:
    """The parts of boxwright that have a name for a recipe key; None: the name stands for no part."""
    return {name: _own(text) if text else None for name, text in _BUILT_IN.get(key, {}).items()}


@cache
def installed(key: str) -> dict[str, Entry | None]:
    """The parts that installed packages add, as entry points of the group ``boxwright.KEY``."""
    points = entry_points(group=f"boxwright.{key}")
    return {point.name: _of_package(point) for point in points if point.name not in built_in(key)}


def named_parts(key: str) -> dict[str, Entry | None]:
    """All parts that have a name for a recipe key."""
    return built_in(key) | installed(key)


def find_part(key: str, name: str) -> tuple[bool, Entry | None]:
    """Whether there is a part of that name, and where; packages are only searched for what isn't boxwright's."""
    known = built_in(key) if name in built_in(key) else installed(key)
    return name in known, known.get(name)


def _of_package(point: EntryPoint) -> Entry:
    return Entry(point.module, point.attr, None, point.dist.name if point.dist else "an installed package")
