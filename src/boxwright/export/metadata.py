"""What a model file says of itself, so that it needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boxwright._util.ownership import GENERATOR, MADE_BY
from boxwright.export.choosing import rows_of_maps, shortest_side
from boxwright.models.detector import Detector
from boxwright.recipes import Recipe
from boxwright.report.history import read_history
from boxwright.runs import Run
from boxwright.runs.weights import read_metadata

if TYPE_CHECKING:
    import onnx

_READING = ("resize", "image_size", "max_size", "antialias", "exif", "depth_range", "max_pixels", "decode")
_SELECTION = ("nms", "nms_threshold", "nms_agnostic", "candidates", "candidates_per", "max_detections", "vote")


def describe(
    run: Run, detector: Detector, least: Sequence[float], nms: str, figures: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All that a prediction from the file needs to know, and where the model comes from, by topic.

    ``figures``: measured now, instead of those of the training's validation.
    """
    recipe = detector.recipe
    values = recipe.to_dict()
    record = run.record
    any_size = recipe.resize == "shortest"
    side = None if any_size else recipe.image_size
    maps = None if any_size else rows_of_maps(detector, (recipe.image_size, recipe.image_size))
    mean, std = (detector.get_buffer(name).flatten().tolist() for name in ("_mean", "_std"))
    return {
        "generator": GENERATOR,
        "classes": list(detector.classes),
        "input": {"height": side, "width": side, "multiple": recipe.input_size.multiple, "colours": "RGB"}
        | {key: values[key] for key in _READING},
        "normalization": {"mean": mean, "std": std, "where": "in the graph"},
        "thresholds": dict(zip(detector.classes, least, strict=True)),
        "nms": {"where": nms, **{key: values[key] for key in _SELECTION}, "maps": maps}
        | {"shortest": shortest_side(detector)},
        "recipe": values,
        "data": {"fingerprint": record["origin"].get("fingerprint"), "images": record["training"].get("images")},
        "figures": _figures(run) if figures is None else dict(figures),
        "start": _start(run, recipe),
    }


def put(model: onnx.ModelProto, content: Mapping[str, Any]) -> None:
    """Write JSON by topic into the model, in place."""
    import onnx

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


def _start(run: Run, recipe: Recipe) -> dict[str, Any]:
    """Where the weights came from that the training started from, or all of them where they were imported, and their
    licence where it is known: from the start, the model's own file, or timm for a backbone."""
    import timm

    found: dict[str, Any] = {"backbone": recipe.backbone, "pretrained": recipe.pretrained, "licence": None}
    start = run.record["origin"].get("start")
    if start is not None:
        return found | {key: start[key] for key in ("name", "origin", "licence", "taken")}
    if own := {key: text for key, text in read_metadata(run.model_file).items() if key in ("origin", "licence")}:
        return found | own
    if recipe.pretrained is True and timm.is_model(recipe.backbone):
        config = timm.get_pretrained_cfg(recipe.backbone, allow_unregistered=True)
        found["licence"] = None if config is None else config.license
    return found
