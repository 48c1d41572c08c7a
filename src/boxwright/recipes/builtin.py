"""The built-in detectors, each with its recipe.

A recipe states what its paper says, on top of blocks that several papers share, and takes from the defaults of
``Recipe`` what no paper decides. Nothing here imports torch.
"""

from __future__ import annotations

from boxwright.catalog import find_part, installed
from boxwright.choices import entry_object, is_own, own_object
from boxwright.errors import RecipeError
from boxwright.recipes.keys import RecipeKeys
from boxwright.recipes.spec import DetectorSpec
from boxwright.text import did_you_mean
from boxwright.values import shown

_CENTERNESS = ("centerness", "centerness_weights", "distances")
_NOT_OF_SSD = ("strides", "width", "distribution_weight", *_CENTERNESS)

_SSD: RecipeKeys = {
    "backbone": "vgg16",
    "matcher": "iou:positive=0.5,negative=0.5,force=bipartite",
    "coder": "delta",
    "miner": "hard_negatives:ratio=3",
    "class_loss": "cross_entropy",
    "box_loss": "smooth_l1",
    "box_weight": 1.0,
    "normalizer": "positives",
    "epochs": 230,
    "batch_size": 32,
    "optimizer": "sgd",
    "lr": 1e-3,
    "weight_decay": 5e-4,
    "nms_threshold": 0.45,
}
"""The supervision that SSD's recipes share (arXiv:1512.02325, section 2.2), and the training (section 3)."""

_SSD300: RecipeKeys = {
    **_SSD,
    "image_size": 300,
    "strides": (8, 16, 32, 64, 100, 300),
    "anchors": "ssd300",
    "augment": "ssd",
    "candidates": 400,
    "candidates_per": "class",
    "max_detections": 200,
}

_PYRAMID: RecipeKeys = {
    "backbone": "resnet50",
    "image_size": 640,
    "strides": (8, 16, 32, 64, 128),
    "width": 256,
    "class_loss": "sigmoid_focal:alpha=0.25,gamma=2",
    "box_weight": 1.0,
    "epochs": 60,
    "batch_size": 16,
    "optimizer": "sgd",
    "lr": 0.01,
    "weight_decay": 1e-4,
    "freeze": 2,
    "norm_mode": "frozen",
    "augment": "none",
}
"""Values shared by RetinaNet and FCOS (arXiv:1708.02002, section 4.1; arXiv:1904.01355, section 4)."""

_FASTER_RCNN = DetectorSpec(
    "faster-rcnn",
    build="boxwright.models.faster_rcnn:build_faster_rcnn",
    recipe={
        **_PYRAMID,
        "strides": (4, 8, 16, 32, 64),
        "anchors": "rpn",
        "matcher": "iou:positive=0.5,negative=0.5,force=null",
        "coder": "delta",
        "miner": "random_balanced:count=512,positive_fraction=0.25",
        "class_loss": "cross_entropy",
        "box_loss": "smooth_l1:beta=0.1111",
        "normalizer": "samples",
        "lr": 0.02,
        "nms_threshold": 0.5,
    },
    without=("strides", *_CENTERNESS),
    two_stage=True,
)

_LITE320 = DetectorSpec(
    "lite320",
    build="boxwright.models.lite:build_lite",
    recipe={
        "backbone": "tf_efficientnet_lite0",
        "image_size": 320,
        "resize": "squash",
        "strides": (8, 16, 32),
        "width": 96,
        "anchors": "squares:scale=4",
        "matcher": "atss:top=9",
        "coder": "distribution:bins=17",
        "miner": "none",
        "class_loss": "quality_focal:beta=2",
        "box_loss": "giou",
        "box_weight": 2.0,
        "distribution_weight": 1.0,
        "normalizer": "quality",
        "epochs": 60,
        "batch_size": 8,
        "optimizer": "adamw",
        "lr": 4e-3,
        "schedule": "cosine:final=0.01",
        "weight_decay": 0.02,
        "warmup": 0.06,
        "clip": 10.0,
        "freeze": 2,
        "freeze_depthwise": 5,
        "norm_mode": "train",
        "ema": 0.99,
        "augment": "light",
        "flip": "horizontal",
        "score": 0.3,
        "nms": "iou",
        "nms_threshold": 0.65,
        "candidates": 1000,
        "candidates_per": "image",
        "max_detections": 100,
        "vote": 0.05,
    },
    without=_CENTERNESS,
)
"""Our own; measured in docs/recipes.md."""

_AUTO = DetectorSpec(
    "auto",
    build="boxwright.models.lite:build_lite",
    recipe={
        **_LITE320.recipe,
        "image_size": "auto",
        "resize": "auto",
        "strides": "auto",
        "anchors": "auto",
        "sampling": "auto",
        "epochs": "auto",
        "flip": "auto",
    },
    without=_CENTERNESS,
)
"""lite320 where its choices fit the images of a training; ``fit`` decides where they don't."""

_NANO416 = DetectorSpec(
    "nano416",
    build="boxwright.models.nanodet:build_nanodet",
    recipe={
        **_LITE320.recipe,
        "backbone": "nanodet_g",
        "image_size": 416,
        "resize": "pad",
        "width": 128,
        "anchors": "squares:scale=8",
        "coder": "distribution:bins=11,step=0.125",
        "distribution_weight": 0.25,
        "lr": 1e-3,
        "freeze_depthwise": 0,
        "nms_threshold": 0.6,
    },
    without=_CENTERNESS,
)
"""NanoDet-g (config nanodet-g of github.com/RangiLyu/nanodet): its network, anchors, matching and losses; trained as
lite320 is, at a learning rate low enough for a network without BatchNorm."""

_RETINANET = DetectorSpec(
    "retinanet",
    build="boxwright.models.retinanet:build_retinanet",
    recipe={
        **_PYRAMID,
        "anchors": "retinanet",
        "matcher": "iou:positive=0.5,negative=0.4,force=ties",
        "coder": "delta:weights=[1,1,1,1]",
        "box_loss": "smooth_l1:beta=0.1",
        "normalizer": "image",
        "nms_threshold": 0.5,
    },
    without=("strides", *_CENTERNESS),
)

_UNITBOX = DetectorSpec(
    "unitbox",
    build="boxwright.models.unitbox:build_unitbox",
    recipe={
        **_PYRAMID,
        "anchors": "squares:scale=4",
        "matcher": "points",
        "coder": "distance:unit=0.5",
        "box_loss": "iou:mode=log",
        "normalizer": "positives",
        "nms_threshold": 0.6,
    },
    without=("strides", "distribution_weight"),
)

_TINY_DETECTOR = DetectorSpec(
    "tiny-detector",
    build="boxwright.models.tiny:build_tiny",
    recipe={**_SSD, "image_size": 224, "strides": (32,), "anchors": "tiny_441", "augment": "light"},
    without=_NOT_OF_SSD,
)


_SSDLITE300 = DetectorSpec(
    "ssdlite300",
    build="boxwright.models.ssdlite:build_ssdlite",
    recipe={
        **_SSD300,
        "backbone": "mobilenetv2_ssdlite:wide=true",
        "strides": (16, 32, 64, 128, 256, 512),
        "anchors": "ssdlite300",
        "class_loss": "binary_cross_entropy",
        "nms_threshold": 0.6,
        "max_detections": 100,
    },
    without=_NOT_OF_SSD,
)
"""ssdlite_mobilenet_v2_coco of TensorFlow's detection models: its network, anchors, matching and losses; trained as SSD
is."""


def _ssd(name: str, recipe: RecipeKeys) -> DetectorSpec:
    return DetectorSpec(name, build="boxwright.models.ssd:build_ssd", recipe=recipe, without=_NOT_OF_SSD)


DETECTORS = {
    spec.name: spec
    for spec in (
        _AUTO,
        _FASTER_RCNN,
        _LITE320,
        _NANO416,
        _RETINANET,
        _ssd("ssd300", _SSD300),
        _ssd("ssd300-pool", {**_SSD300, "anchors": "ssd300_v1"}),
        _ssd(
            "ssd300-tf",
            {
                **_SSD300,
                "anchors": "ssd300_tf",
                "matcher": "iou:positive=0.5,negative=0.5,force=null,strict=true",
                "miner": "hard_negatives:ratio=3,scope=batch,cutoff=tf",
                "normalizer": "batch",
            },
        ),
        _SSDLITE300,
        _ssd(
            "ssd512",
            {**_SSD300, "image_size": 512, "strides": (8, 16, 32, 64, 128, 256, 512), "anchors": "ssd512"},
        ),
        _TINY_DETECTOR,
        _UNITBOX,
    )
}
"""Every built-in detector by name."""


def find_detector(name: str) -> DetectorSpec:
    """Find a detector by name, built in or of an installed package, or your own as ``module:SPEC``.

    Raises:
        RecipeError: For an unknown name, a broken package, your own detector if its module is not imported, and for
            anything that is not a DetectorSpec.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    entry = find_part("detector", name)[1]
    if entry is not None:
        spec = entry_object("detector", name, entry)
    elif is_own("detector", name):
        spec = own_object("detector", name)
    else:
        raise RecipeError(f"unknown detector {shown(name)}{did_you_mean(name, known_detectors())}")
    if not isinstance(spec, DetectorSpec):
        of = f" of the package {entry.package}" if entry else ""
        raise RecipeError(f"Expected detector {name}{of} to be a DetectorSpec but got {type(spec).__name__}")
    return spec


def known_detectors() -> list[str]:
    """List the built-in detectors and those that installed packages add."""
    return sorted({*DETECTORS, *installed("detector")})
