"""The recipes that are built in."""

from __future__ import annotations

from dataclasses import replace

from boxwright.recipes.recipe import Recipe

_SSD = Recipe(
    backbone="vgg16",
    matcher="iou:positive=0.5,negative=0.5,force=bipartite",
    coder="delta",
    miner="hard_negatives:ratio=3",
    class_loss="cross_entropy",
    box_loss="smooth_l1",
    box_weight=1.0,
    normalizer="positives",
    optimizer="sgd",
    lr=1e-3,
    weight_decay=5e-4,
    freeze=0,
    freeze_depthwise=0,
    nms_threshold=0.45,
    vote=0.0,
)
"""The supervision that SSD's recipes share (arXiv:1512.02325, section 2.2)."""

_SSD300 = replace(
    _SSD,
    detector="ssd300",
    image_size=300,
    strides=(8, 16, 32, 64, 100, 300),
    anchors="ssd300",
    epochs=230,
    batch_size=32,
    augment="ssd",
    candidates=400,
    candidates_per="class",
    max_detections=200,
)

_PYRAMID = Recipe(
    backbone="resnet50",
    image_size=640,
    strides=(8, 16, 32, 64, 128),
    width=256,
    class_loss="sigmoid_focal:alpha=0.25,gamma=2",
    box_weight=1.0,
    batch_size=16,
    optimizer="sgd",
    lr=0.01,
    weight_decay=1e-4,
    freeze_depthwise=0,
    norm_mode="frozen",
    augment="none",
    vote=0.0,
)
"""What RetinaNet and FCOS share (arXiv:1708.02002, section 4.1; arXiv:1904.01355, section 4)."""

RECIPES = {
    "lite320": Recipe(),
    "faster-rcnn": replace(
        _PYRAMID,
        detector="faster-rcnn",
        strides=(4, 8, 16, 32, 64),
        anchors="rpn",
        matcher="iou:positive=0.5,negative=0.5,force=null",
        coder="delta",
        miner="random_balanced:count=512,positive_fraction=0.25",
        class_loss="cross_entropy",
        box_loss="smooth_l1:beta=0.1111",
        normalizer="samples",
        lr=0.02,
        nms_threshold=0.5,
    ),
    "retinanet": replace(
        _PYRAMID,
        detector="retinanet",
        anchors="retinanet",
        matcher="iou:positive=0.5,negative=0.4,force=ties",
        coder="delta:weights=[1,1,1,1]",
        box_loss="smooth_l1:beta=0.1",
        normalizer="image",
        nms_threshold=0.5,
    ),
    "ssd300": _SSD300,
    "ssd300-tf": replace(
        _SSD300,
        detector="ssd300-tf",
        anchors="ssd300_tf",
        matcher="iou:positive=0.5,negative=0.5,force=null,strict=true",
        miner="hard_negatives:ratio=3,scope=batch,cutoff=tf",
        normalizer="batch",
    ),
    "ssd512": replace(
        _SSD300, detector="ssd512", image_size=512, strides=(8, 16, 32, 64, 128, 256, 512), anchors="ssd512"
    ),
    "tiny-detector": replace(
        _SSD, detector="tiny-detector", image_size=224, strides=(32,), anchors="tiny_441", epochs=230, batch_size=32
    ),
    "unitbox": replace(
        _PYRAMID,
        detector="unitbox",
        matcher="points",
        coder="distance:unit=0.5",
        box_loss="iou:mode=log",
        normalizer="positives",
        nms_threshold=0.6,
    ),
}
