"""What the page's script reads: the anchors of the examples, packed as base64 numbers."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from boxwright.inspect.coverage import COCO_SIDES
from boxwright.inspect.examples import Example
from boxwright.inspect.inspection import Inspection
from boxwright.inspect.losses import LEAST_IOU, Mining
from boxwright.inspect.supervision import MatchRule, level_of
from boxwright.report.markup import data_uri

KINDS = {
    True: ("easy positive", "hard positive", "hard negative", "easy negative", "ignored"),
    False: ("positive", "forced positive", "", "negative near an object", "ignored"),
}
"""The kinds that anchors are shown as, with losses and without, in the script's order."""
MOST_BYTES = 16_000_000
"""Size limit of the pictures and anchors of all images on the page; images beyond it are left out, except the first."""
_QUALITY = 80  # of the pictures' JPEG


def payload(inspection: Inspection) -> dict[str, Any]:
    """Build plain values for JSON."""
    recipe, anchors = inspection.recipe, inspection.supervision.anchors
    rule = MatchRule.of(recipe)
    mining = Mining.of(recipe)
    levels, boxes = level_of(anchors).numpy(), anchors.boxes.numpy()
    return {
        "classes": inspection.dataset.classes,
        "size": recipe.image_size,
        "strides": [level.stride for level in anchors.levels],
        "least": LEAST_IOU,
        "losses": inspection.has_losses,
        "kinds": KINDS[inspection.has_losses],
        "rule": {
            "byIou": rule.by_iou,
            "positive": rule.positive,
            "negative": rule.negative,
            "strict": rule.strict,
        },
        "miner": {"ratio": mining.ratio, "least": mining.least},
        "images": _images(inspection, levels, boxes),
    }


def _images(inspection: Inspection, levels: NDArray[np.int64], boxes: NDArray[np.float32]) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = []
    used = 0
    for example in inspection.examples:
        image = _image(example, levels, boxes)
        used += len(json.dumps(image))
        if images and used > MOST_BYTES:
            break
        images.append(image)
    return images


def _image(example: Example, levels: NDArray[np.int64], boxes: NDArray[np.float32]) -> dict[str, Any]:
    """Pack one image; ``levels`` (A,) and ``boxes`` (A, 4) are those of all anchors."""
    height, width = example.picture.shape[:2]
    shown = example.anchor.numpy()
    return {
        "name": example.name,
        "src": data_uri(Image.fromarray(example.picture), _QUALITY),
        "width": width,
        "height": height,
        "loss": example.total if math.isfinite(example.total) else None,
        "least": example.least,
        "left": example.hardest_left if math.isfinite(example.hardest_left) else None,
        "objects": _objects(example),
        "columns": _columns(example, levels[shown], boxes[shown]),
    }


def _objects(example: Example) -> list[dict[str, Any]]:
    sides = np.sqrt((example.boxes[:, 2:] - example.boxes[:, :2]).prod(1))
    sizes = np.array(["small", "medium", "large"])[np.searchsorted(COCO_SIDES, sides, side="right")]
    columns = zip(
        example.boxes.round(1).tolist(),
        example.labels.tolist(),
        example.ignore.tolist(),
        example.positives.tolist(),
        example.best_iou.round(2).tolist(),
        sizes.tolist(),
        strict=True,
    )
    names = ("box", "label", "ignore", "positives", "best", "size")
    return [dict(zip(names, row, strict=True)) for row in columns]


def _columns(example: Example, level: NDArray[np.int64], boxes: NDArray[np.float32]) -> dict[str, tuple[str, str]]:
    """Pack name -> number type and base64; boxes in quarters of a pixel, losses and IoUs exactly."""
    roles, costs = example.roles, example.costs
    counted = np.zeros(len(boxes), np.uint8) if costs is None else costs.counted.numpy()
    columns = {
        "boxes": _pack("i2", (4 * boxes).round()),
        "level": _pack("u1", level),
        "target": _pack("i2", np.where(roles.could.numpy(), roles.target.numpy(), -1)),
        "iou": _pack("f4", roles.iou.numpy()),
        "flags": _pack("u1", roles.fixed.numpy() + 2 * roles.covered.numpy() + 4 * counted),
    }
    if costs is not None:
        for name in ("background", "object", "box", "score", "pred"):
            columns[name] = _pack("f4", getattr(costs, name).numpy())
        columns["says"] = _pack("u2", costs.says.numpy())
    return columns


def _pack(kind: str, values: ArrayLike) -> tuple[str, str]:
    return kind, base64.b64encode(np.asarray(values).astype(f"<{kind}").tobytes()).decode("ascii")
