"""The metadata of a model file, so that it needs no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from boxwright._util.ownership import GENERATOR, MADE_BY
from boxwright.models.dense import DenseDetector
from boxwright.report.history import read_history
from boxwright.runs import Run

_READING = ("resize", "image_size", "max_size", "antialias", "exif", "depth_range", "max_pixels", "decode")
_SELECTION = ("nms", "nms_threshold", "nms_agnostic", "candidates", "candidates_per", "max_detections", "vote")


def describe(run: Run, detector: DenseDetector, least: Sequence[float], nms: str) -> dict[str, Any]:
    """Collect everything that a prediction from the file needs, and where the model comes from, by topic."""
    recipe = detector.recipe
    values = recipe.to_dict()
    record = run.record
    any_size = recipe.resize == "shortest"
    side = None if any_size else recipe.image_size
    maps = None if any_size else [level.count for level in detector.anchors.levels]
    mean, std = (detector.get_buffer(name).flatten().tolist() for name in ("_mean", "_std"))
    return {
        "generator": GENERATOR,
        "classes": list(detector.classes),
        "input": {"height": side, "width": side, "multiple": recipe.input_size.multiple, "colours": "RGB"}
        | {key: values[key] for key in _READING},
        "normalization": {"mean": mean, "std": std, "where": "in the graph"},
        "thresholds": dict(zip(detector.classes, least, strict=True)),
        "nms": {"where": nms, **{key: values[key] for key in _SELECTION}, "maps": maps},
        "recipe": values,
        "data": {"fingerprint": record["origin"].get("fingerprint"), "images": record["training"].get("images")},
        "figures": _figures(run),
        "start": _start(recipe.backbone, recipe.pretrained),
    }


def put(model: onnx.ModelProto, content: Mapping[str, Any]) -> None:
    """Write JSON by topic into the model, in place."""
    model.doc_string = MADE_BY
    texts = {topic: json.dumps(values, ensure_ascii=False) for topic, values in content.items()}
    onnx.helper.set_model_props(model, texts)


def _figures(run: Run) -> dict[str, Any]:
    """The validation's scores after the epoch with the best AP, whose weights are the model; none without one."""
    scores = read_history(run.metrics_file).scores
    if "AP" not in scores:
        return {}
    epochs, values = scores["AP"]
    best = epochs[values.index(max(values))]
    of_epoch = {name: dict(zip(*series, strict=True)).get(best) for name, series in scores.items()}
    return {"split": "validation", "epoch": best, **of_epoch}


def _start(backbone: str, pretrained: bool | str) -> dict[str, Any]:
    """Where the backbone's weights came from, with their licence where timm knows it."""
    import timm

    licence = None
    if pretrained is True and timm.is_model(backbone):
        config = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
        licence = None if config is None else config.license
    return {"backbone": backbone, "pretrained": pretrained, "licence": licence}
