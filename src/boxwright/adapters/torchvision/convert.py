"""Convert torchvision's detectors to boxwright's: the same numbers from the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD
from torchvision.ops import FrozenBatchNorm2d

from boxwright.errors import RecipeError
from boxwright.models import Detector, build_detector
from boxwright.recipes import Recipe, get_recipe

Rename = Callable[[re.Match[str]], str]

_EPSILON = 1e-5  # epsilon of our BatchNorms; torchvision's published models have 0
_CONV5 = 23  # index of VGG16's fourth pooling, with which torchvision starts its second map

# Its names as patterns, and ours.
_SSD: dict[str, Rename] = {
    r"backbone\.features\.(\d+)\.(.*)": lambda m: f"backbone.features.{m[1]}.{m[2]}",
    r"backbone\.scale_weight": lambda _: "norm.weight",
    r"backbone\.extra\.0\.7\.(\d+)\.(.*)": lambda m: f"wide.{m[1]}.{m[2]}",
    r"backbone\.extra\.0\.(\d+)\.(.*)": lambda m: f"backbone.features.{_CONV5 + int(m[1])}.{m[2]}",
    r"backbone\.extra\.(\d+)\.(\d+)\.(.*)": lambda m: f"stages.{int(m[1]) - 1}.{m[2]}.{m[3]}",
    r"head\.classification_head\.module_list\.(.*)": lambda m: f"predictors.logits.{m[1]}",
    r"head\.regression_head\.module_list\.(.*)": lambda m: f"predictors.deltas.{m[1]}",
}
_PYRAMID: dict[str, Rename] = {
    r"backbone\.body\.(.*)": lambda m: f"backbone.body.{m[1]}",
    r"backbone\.fpn\.(.*)": lambda m: f"fpn.pyramid.{m[1]}",
}
_RETINANET: dict[str, Rename] = _PYRAMID | {
    r"head\.classification_head\.conv\.(\d+)\.0\.(.*)": lambda m: f"head.logits.{2 * int(m[1])}.{m[2]}",
    r"head\.regression_head\.conv\.(\d+)\.0\.(.*)": lambda m: f"head.deltas.{2 * int(m[1])}.{m[2]}",
    r"head\.classification_head\.cls_logits\.(.*)": lambda m: f"head.logits.8.{m[1]}",
    r"head\.regression_head\.bbox_reg\.(.*)": lambda m: f"head.deltas.8.{m[1]}",
}
_FCOS: dict[str, Rename] = _PYRAMID | {
    r"head\.classification_head\.conv\.(.*)": lambda m: f"head.classes.{m[1]}",
    r"head\.regression_head\.conv\.(.*)": lambda m: f"head.sides.{m[1]}",
    r"head\.classification_head\.cls_logits\.(.*)": lambda m: f"head.logits.{m[1]}",
    r"head\.regression_head\.bbox_reg\.(.*)": lambda m: f"head.distances.{m[1]}",
    r"head\.regression_head\.bbox_ctrness\.(.*)": lambda m: f"head.centerness.{m[1]}",
}
_FASTER_RCNN: dict[str, Rename] = _PYRAMID | {
    r"rpn\.head\.conv\.0\.0\.(.*)": lambda m: f"rpn.shared.0.{m[1]}",
    r"rpn\.head\.cls_logits\.(.*)": lambda m: f"rpn.logits.{m[1]}",
    r"rpn\.head\.bbox_pred\.(.*)": lambda m: f"rpn.deltas.{m[1]}",
    r"roi_heads\.box_head\.fc6\.(.*)": lambda m: f"roi.hidden.0.{m[1]}",
    r"roi_heads\.box_head\.fc7\.(.*)": lambda m: f"roi.hidden.2.{m[1]}",
    r"roi_heads\.box_predictor\.cls_score\.(.*)": lambda m: f"roi.logits.{m[1]}",
    r"roi_heads\.box_predictor\.bbox_pred\.(.*)": lambda m: f"roi.deltas.{m[1]}",
}


@dataclass(frozen=True)
class _Kind:
    """Conversion of a kind of torchvision model to one of ours."""

    name: str
    names: dict[str, Rename]
    recipe: Callable[[Any], dict[str, Any]]
    """The model -> keys of the recipe that is named after ``base``."""
    base: str
    layer: str
    """Our layer whose rows are classes, a block of ``columns`` for each anchor of a cell."""
    background: bool
    """Whether its column 0 is the background of a softmax; otherwise it is a class that never occurs."""


def convert(model: nn.Module) -> Detector:
    """Convert a torchvision detector, with its weights, to a boxwright detector.

    ``ssd300_vgg16`` becomes ``ssd300``, ``retinanet_resnet50_fpn`` ``retinanet``, ``fcos_resnet50_fpn`` ``unitbox`` and
    ``fasterrcnn_resnet50_fpn`` ``faster-rcnn``.

    Resize without antialiasing, padding, normalization, anchors, thresholds, candidates and the number of detections
    are kept, and the recipe holds its supervision. Label i becomes i - 1: its 0 is the background, or in RetinaNet and
    FCOS a column that no target has, which is dropped. Where torchvision's mining runs out of negatives it counts
    positives twice, and ours does not; its constant BatchNorms become ones whose statistics follow the data.

    Raises:
        ValueError: For any other model.
    """
    kind = next((kind for known, kind in _KINDS.items() if isinstance(model, known)), None)
    if kind is None:
        names = ", ".join(kind.name for kind in _KINDS.values())
        raise ValueError(f"Expected torchvision's {names} but got {type(model).__name__}")
    try:
        columns = _columns(model, kind)
        detector = build_detector(_recipe(model, kind, columns - 1))
        detector.net.load_state_dict(_weights(model, kind, columns, detector.net.state_dict()))
    except (AttributeError, IndexError, StopIteration, RuntimeError, ValueError) as error:  # RecipeError comes last
        reason = (str(error) or "other parts").splitlines()[-1].strip()
        raise ValueError(f"Expected torchvision's {kind.name} as it is built there but got another: {reason}") from None
    return detector.eval()


def _columns(model: Any, kind: _Kind) -> int:
    """Count the classes of a model, including its column 0."""
    if kind.base == "faster-rcnn":
        return int(model.roi_heads.box_predictor.cls_score.out_features)
    if kind.base == "ssd300":
        return int(next(iter(model.head.classification_head.module_list)).out_channels // 4)
    return int(model.head.classification_head.num_classes)


# --- recipes


def _recipe(model: Any, kind: _Kind, classes: int) -> Recipe:
    return get_recipe(
        kind.base,
        classes=[f"class_{label}" for label in range(classes)],
        pretrained=False,
        freeze=0,
        norm_mode="train",
        antialias=False,
        mean=model.transform.image_mean,
        std=model.transform.image_std,
        **kind.recipe(model),
    )


def _iou(matcher: Any, force: str) -> str:
    return f"iou:positive={matcher.high_threshold},negative={matcher.low_threshold},force={force}"


def _anchors(generator: Any, strides: tuple[int, ...]) -> str:
    """Read torchvision's anchors, whose ratios must be the same on all maps."""
    if len(set(generator.aspect_ratios)) != 1:
        raise RecipeError("its anchors have other ratios on each map")
    sizes = [list(of_map) for of_map in generator.sizes]
    return f"torchvision:sizes={sizes},ratios={list(generator.aspect_ratios[0])},strides={list(strides)}"


def _shortest(model: Any) -> dict[str, Any]:
    return {"resize": "shortest", "image_size": model.transform.min_size[-1], "max_size": model.transform.max_size}


def _ssd_recipe(model: SSD) -> dict[str, Any]:
    if tuple(model.transform.fixed_size or ()) != (300, 300) or len(model.backbone.extra) != 5:
        raise RecipeError(f"{model.transform.fixed_size} px and other maps")
    return {
        "anchors": "ssd300_coco:clip=sizes",
        "matcher": _iou(model.proposal_matcher, "last"),
        "miner": f"hard_negatives:ratio={model.neg_to_pos_ratio}",
        "score": model.score_thresh,
        "nms_threshold": model.nms_thresh,
        "candidates": model.topk_candidates,
        "max_detections": model.detections_per_img,
    }


def _dense_recipe(model: Any) -> dict[str, Any]:
    """Collect what RetinaNet and FCOS have in common."""
    return {
        **_shortest(model),
        "anchors": _anchors(model.anchor_generator, (8, 16, 32, 64, 128)),
        "score": model.score_thresh,
        "nms_threshold": model.nms_thresh,
        "candidates": model.topk_candidates,
        "candidates_per": "map",
        "max_detections": model.detections_per_img,
    }


def _retinanet_recipe(model: RetinaNet) -> dict[str, Any]:
    return {**_dense_recipe(model), "matcher": _iou(model.proposal_matcher, "ties"), "box_loss": "l1"}


def _fcos_recipe(model: FCOS) -> dict[str, Any]:
    return {
        **_dense_recipe(model),
        "matcher": f"points:reach=8,radius={model.center_sampling_radius}",
        "coder": "distance:unit=1",
        "box_loss": "giou",
        "distances": "relu",
        "centerness": True,
        "centerness_weights": False,
    }


def _faster_rcnn_recipe(model: FasterRCNN) -> dict[str, Any]:
    rpn, roi = model.rpn, model.roi_heads
    kept = {name: (rpn._pre_nms_top_n[name], rpn._post_nms_top_n[name]) for name in ("training", "testing")}
    if any(before != after for before, after in kept.values()):
        raise RecipeError(f"it keeps other numbers of proposals before and after NMS: {kept}")
    smooth = f"smooth_l1:beta={1 / 9!r}"
    return {
        **_shortest(model),
        "anchors": _anchors(rpn.anchor_generator, (4, 8, 16, 32, 64)),
        "rpn_matcher": _iou(rpn.proposal_matcher, "ties"),
        "rpn_miner": _balanced(rpn.fg_bg_sampler),
        "rpn_box_loss": smooth,
        "training_proposals": kept["training"][0],
        "proposals": kept["testing"][0],
        "proposal_nms": rpn.nms_thresh,
        "matcher": _iou(roi.proposal_matcher, "null"),
        "miner": _balanced(roi.fg_bg_sampler),
        "box_loss": smooth,
        "hidden": roi.box_head.fc6.out_features,
        "score": roi.score_thresh,
        "nms_threshold": roi.nms_thresh,
        "candidates": kept["testing"][0] * model.roi_heads.box_predictor.cls_score.out_features,  # all pairs
        "max_detections": roi.detections_per_img,
    }


def _balanced(sampler: Any) -> str:
    return f"random_balanced:count={sampler.batch_size_per_image},positive_fraction={sampler.positive_fraction}"


# --- weights


def _weights(model: nn.Module, kind: _Kind, columns: int, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights, with class columns in our order, and BatchNorms that compute the same as its own."""
    found = {}
    for name, value in model.state_dict().items():
        renamed = next(rename(m) for pattern, rename in kind.names.items() if (m := re.fullmatch(pattern, name)))
        if renamed.startswith(kind.layer):
            value = value.reshape(-1, columns, *value.shape[1:])
            value = (value.roll(-1, dims=1) if kind.background else value[:, 1:]).flatten(0, 1)
        elif kind.base == "faster-rcnn" and renamed.startswith("roi.deltas"):
            value = value[4:]
        found[renamed] = value
    for name, module in model.named_modules():
        if isinstance(module, FrozenBatchNorm2d):
            variance = f"{name}.running_var"
            found[variance] = found[variance] + (module.eps - _EPSILON)
            found[f"{name}.num_batches_tracked"] = torch.zeros_like(ours[f"{name}.num_batches_tracked"])
    return found


_KINDS: dict[type[nn.Module], _Kind] = {
    SSD: _Kind("ssd300_vgg16", _SSD, _ssd_recipe, "ssd300", "predictors.logits", background=True),
    RetinaNet: _Kind(
        "retinanet_resnet50_fpn", _RETINANET, _retinanet_recipe, "retinanet", "head.logits.8", background=False
    ),
    FCOS: _Kind("fcos_resnet50_fpn", _FCOS, _fcos_recipe, "unitbox", "head.logits", background=False),
    FasterRCNN: _Kind(
        "fasterrcnn_resnet50_fpn", _FASTER_RCNN, _faster_rcnn_recipe, "faster-rcnn", "roi.logits", background=True
    ),
}
