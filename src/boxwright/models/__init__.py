"""Detectors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from boxwright import losses
from boxwright.choices import resolve_choice
from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.backbones import has_depthwise, replace_batch_norm
from boxwright.models.detector import DenseDetector, Network
from boxwright.models.lite import build_lite
from boxwright.models.retinanet import build_retinanet
from boxwright.models.ssd import build_ssd
from boxwright.models.supervision import build_criterion
from boxwright.models.tiny import build_tiny
from boxwright.models.unitbox import build_unitbox
from boxwright.recipes import Recipe, get_recipe, list_recipes

_BUILDERS: dict[str, Callable[[Recipe, int, BoxCoder, bool], Network]] = {
    "lite320": build_lite,
    "retinanet": build_retinanet,
    "ssd300": build_ssd,
    "ssd300-tf": build_ssd,
    "ssd512": build_ssd,
    "tiny-detector": build_tiny,
    "unitbox": build_unitbox,
}

__all__ = ["DenseDetector", "build_criterion", "build_detector", "create_detector", "list_detectors"]


def list_detectors() -> list[str]:
    """Names that ``create_detector`` takes."""
    return list_recipes()


def create_detector(name: str, num_classes: int, **options: Any) -> DenseDetector:
    """A detector of ``num_classes`` foreground classes. Options are recipe keys; unknown ones raise RecipeError."""
    recipe = get_recipe(name, **options)
    if not recipe.classes:
        recipe = recipe.replace(classes=[f"class_{i}" for i in range(num_classes)])
    if len(recipe.classes) != num_classes:
        raise RecipeError(f"Expected {num_classes} class names but got {len(recipe.classes)}")
    return build_detector(recipe)


def build_detector(recipe: Recipe, *, pretrained: bool | None = None) -> DenseDetector:
    """The detector of a recipe whose classes are known; ``pretrained`` False where weights are loaded afterwards."""
    softmax = losses.info(_required(recipe, "class_loss")).kind == "softmax"
    try:
        coder: BoxCoder = _required(recipe, "coder")()
    except ValueError as error:  # an option out of range
        raise RecipeError(str(error)) from None
    build = _BUILDERS[recipe.detector]
    network = build(
        recipe, len(recipe.classes) + softmax, coder, recipe.pretrained if pretrained is None else pretrained
    )
    if recipe.norm_mode == "group":
        replace_batch_norm(network.net)
    # In float32 on processors the backward pass of plain convolutions is faster with contiguous channels, that of
    # depthwise ones slower
    memory_format = torch.channels_last if has_depthwise(network.net) else torch.contiguous_format
    return DenseDetector(network, coder, recipe, softmax=softmax).lay_out(memory_format)


def _required(recipe: Recipe, kind: str) -> Any:
    return resolve_choice(kind, getattr(recipe, kind))
