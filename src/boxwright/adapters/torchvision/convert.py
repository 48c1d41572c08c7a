"""torchvision's detectors as boxwright's: the same numbers from the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG

from boxwright.models import DenseDetector, build_detector
from boxwright.recipes import Recipe, get_recipe

_CONV5 = 23  # place of VGG16's fourth pooling, with which torchvision starts its second map
# Its names as patterns, and ours
_NAMES: dict[str, Callable[[re.Match[str]], str]] = {
    r"backbone\.features\.(\d+)\.(.*)": lambda m: f"backbone.features.{m[1]}.{m[2]}",
    r"backbone\.scale_weight": lambda _: "norm.weight",
    r"backbone\.extra\.0\.7\.(\d+)\.(.*)": lambda m: f"wide.{m[1]}.{m[2]}",
    r"backbone\.extra\.0\.(\d+)\.(.*)": lambda m: f"backbone.features.{_CONV5 + int(m[1])}.{m[2]}",
    r"backbone\.extra\.(\d+)\.(\d+)\.(.*)": lambda m: f"stages.{int(m[1]) - 1}.{m[2]}.{m[3]}",
    r"head\.classification_head\.module_list\.(.*)": lambda m: f"predictors.logits.{m[1]}",
    r"head\.regression_head\.module_list\.(.*)": lambda m: f"predictors.deltas.{m[1]}",
}


def convert(model: nn.Module) -> DenseDetector:
    """A torchvision ``ssd300_vgg16`` as boxwright's ``ssd300``, with its weights.

    Resize without antialias, normalisation, anchors (their sizes limited to the image's), thresholds, candidates and
    the number of detections are kept, and its supervision stands in the recipe; label i becomes i - 1, since its 0 is
    the background. Where torchvision's mining runs out of negatives it counts positives twice, and ours doesn't.

    Raises ValueError for any other model.
    """
    if not isinstance(model, SSD) or not isinstance(model.backbone, SSDFeatureExtractorVGG):
        raise ValueError(f"Expected torchvision's ssd300_vgg16 but got {type(model).__name__}")
    if tuple(model.transform.fixed_size or ()) != (300, 300) or len(model.backbone.extra) != 5:
        raise ValueError(f"Expected a model of 300 x 300 input and six maps but got {model.transform.fixed_size}")
    columns = next(iter(model.head.classification_head.module_list)).out_channels // 4
    detector = build_detector(_recipe(model, columns - 1))
    detector.net.load_state_dict(_weights(model.state_dict(), columns))
    return detector.eval()


def _recipe(model: SSD, classes: int) -> Recipe:
    return get_recipe(
        "ssd300",
        classes=[f"class_{label}" for label in range(classes)],
        pretrained=False,
        anchors="ssd300_coco:clip=sizes",
        matcher=f"iou:positive={model.proposal_matcher.high_threshold},"
        f"negative={model.proposal_matcher.low_threshold},force=last",
        miner=f"hard_negatives:ratio={model.neg_to_pos_ratio}",
        mean=model.transform.image_mean,
        std=model.transform.image_std,
        antialias=False,
        score=model.score_thresh,
        nms_threshold=model.nms_thresh,
        candidates=model.topk_candidates,
        max_detections=model.detections_per_img,
    )


def _weights(theirs: Mapping[str, Tensor], columns: int) -> dict[str, Tensor]:
    """Renamed, and the classifiers' rows with the background last."""
    ours = {}
    for name, value in theirs.items():
        renamed = next(rename(m) for pattern, rename in _NAMES.items() if (m := re.fullmatch(pattern, name)))
        if renamed.startswith("predictors.logits"):
            value = value.reshape(-1, columns, *value.shape[1:]).roll(-1, dims=1).flatten(0, 1)
        ours[renamed] = value
    return ours
