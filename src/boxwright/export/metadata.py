"""The metadata of a model file, so that it needs no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from boxwright._util.ownership import GENERATOR, MADE_BY
from boxwright.export.choosing import rows_of_maps, shortest_side
from boxwright.models.detector import Detector
from boxwright.report.history import read_history
from boxwright.runs import Run
from boxwright.runs.origins import start_of

if TYPE_CHECKING:
    import onnx

_READING = ("resize", "image_size", "max_size", "antialias", "exif", "depth_range", "max_pixels", "decode")
_SELECTION = ("nms", "nms_threshold", "nms_agnostic", "candidates", "candidates_per", "max_detections", "vote")


def describe(
    run: Run, detector: Detector, min_scores: Sequence[float], nms: str, figures: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Describe by topic what a prediction from the file needs, and where the model comes from.

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
        "input": {"height": side, "width": side, "multiple": recipe.input_size.multiple, "colors": "RGB"}
        | {key: values[key] for key in _READING},
        "normalization": {"mean": mean, "std": std, "where": "in the graph"},
        "thresholds": dict(zip(detector.classes, min_scores, strict=True)),
        "validation": None if detector.thresholds is None else asdict(detector.thresholds),
        "nms": {"where": nms, **{key: values[key] for key in _SELECTION}, "maps": maps}
        | {"levels": _levels(detector), "shortest": shortest_side(detector)},
        "recipe": values,
        "data": {"fingerprint": record["origin"].get("fingerprint"), "images": record["training"].get("images")},
        "figures": _figures(run) if figures is None else dict(figures),
        "start": start_of(run),
    }


def _levels(detector: Detector) -> list[dict[str, Any]]:
    """Describe each feature map by what its anchors are computed from, for inputs of any size."""
    spec = detector.spec
    return [{"stride": level.stride, "anchors": len(level.shapes), "rounding": spec.rounding} for level in spec.levels]


def put(model: onnx.ModelProto, content: Mapping[str, Any]) -> None:
    """Write JSON by topic into the model, in place."""
    import onnx

    model.doc_string = MADE_BY
    texts = {topic: json.dumps(values, ensure_ascii=False) for topic, values in content.items()}
    onnx.helper.set_model_props(model, texts)


def _figures(run: Run) -> dict[str, Any]:
    """Read the validation scores of the epoch with the best AP, whose weights are exported; empty without any."""
    scores = read_history(run.metrics_file).scores
    if "AP" not in scores:
        return {}
    epochs, values = scores["AP"]
    best = epochs[values.index(max(values))]
    of_epoch = {name: dict(zip(*series, strict=True)).get(best) for name, series in scores.items()}
    return {"split": "validation", "epoch": best, **of_epoch}
