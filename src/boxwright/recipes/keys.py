"""The keys of a recipe for type checkers, so that a misspelled one is found before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, get_args, get_origin

Part = str | Callable[..., Any]
"""A part, by name or as an object."""

Auto = Literal["auto"]
"""Value of a key that the training images decide, see ``fit``."""

DECIDED_KEYS = ("resize", "image_size", "strides", "anchors", "sampling", "epochs", "flip")
"""Keys that take it, in the order in which they are decided."""

BatchSize = Auto | int
Resize = Literal["squash", "pad", "shortest"]
Distances = Literal["exp", "relu"]
Normalizer = Literal["positives", "quality", "image", "batch", "samples"]
Counted = Literal["data", "batch", "samples"]
Activation = Literal["softmax", "sigmoid"]
PrecisionName = Literal["auto", "float32", "bf16", "fp16"]
NormMode = Literal["train", "eval", "frozen", "group"]
Flip = Literal["none", "horizontal", "both"]
AugmentOn = Literal["auto", "cpu", "device"]
Decode = Literal["full", "scaled"]
Exif = Literal["apply", "ignore", "boxes"]
Suppression = Literal["iou", "diou", "soft_linear", "soft_gaussian", "cluster_iou", "cluster_soft"]
CandidatesPer = Literal["image", "class", "map"]


def or_auto(hint: Any) -> Any:
    """Make a type that also allows "auto"."""
    if hint is str:
        return hint
    return Literal[(*get_args(hint), "auto")] if get_origin(hint) is Literal else Auto | hint


class RecipeKeys(TypedDict, total=False):
    """The keys of a recipe. ``Recipe`` documents them; a test keeps the two equal."""

    detector: str
    classes: Sequence[str]
    backbone: Part
    pretrained: bool | str
    image_size: Auto | int
    resize: Auto | Resize
    max_size: int
    antialias: bool
    mean: Sequence[float] | None
    std: Sequence[float] | None
    strides: Auto | Sequence[int]
    width: int
    anchors: Part
    centerness: bool
    centerness_weights: bool
    distances: Distances
    hidden: int
    box_per_class: bool
    proposals: int
    training_proposals: int
    proposal_nms: float
    matcher: Part
    coder: Part
    miner: Part
    class_loss: Part
    activation: Activation | None
    box_loss: Part
    box_weight: float | None
    distribution_weight: float
    normalizer: Normalizer
    class_weights: str
    class_weights_over: Counted
    background_weight: float | None
    rpn_matcher: Part
    rpn_coder: Part
    rpn_miner: Part
    rpn_class_loss: Part
    rpn_box_loss: Part
    rpn_box_weight: float | None
    rpn_normalizer: Normalizer
    epochs: Auto | int
    batch_size: BatchSize
    accumulate: int
    optimizer: Part
    lr: float
    schedule: Part
    weight_decay: float
    warmup: float
    clip: float
    precision: PrecisionName
    patience: int
    freeze: int
    freeze_depthwise: int
    layer_lr: str
    layer_delay: str
    norm_mode: NormMode
    ema: float
    augment: Part
    flip: Auto | Flip
    augment_on: AugmentOn
    sampling: Part
    negatives: str
    reader: Part
    voc_one_based: bool | None
    exif: Exif | None
    depth_range: str
    max_pixels: int | None
    decode: Decode
    score: float
    nms: Suppression
    nms_agnostic: bool
    candidates: int
    candidates_per: CandidatesPer
    max_detections: int
    nms_threshold: float
    vote: float
