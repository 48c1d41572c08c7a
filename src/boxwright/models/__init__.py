"""Detectors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor

from boxwright import losses
from boxwright.choices import resolve_choice
from boxwright.coding import BoxCoder
from boxwright.criterion import DenseCriterion
from boxwright.errors import RecipeError
from boxwright.losses import ClassWeighting
from boxwright.models.backbones import has_depthwise, replace_batch_norm
from boxwright.models.detector import DenseDetector, Network
from boxwright.models.lite import build_lite
from boxwright.models.ssd import build_ssd300
from boxwright.models.tiny import build_tiny
from boxwright.recipes import Recipe, get_recipe, list_recipes

_BUILDERS: dict[str, Callable[[Recipe, int, BoxCoder, bool], Network]] = {
    "lite320": build_lite,
    "ssd300": build_ssd300,
    "tiny-detector": build_tiny,
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
    coder: BoxCoder = _required(recipe, "coder")()
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


def build_criterion(recipe: Recipe, counts: Tensor | None = None) -> DenseCriterion:
    """The supervision of a recipe; ``counts`` (K,) boxes of each class are what class weights of the data go by.

    Raises RecipeError where its parts don't go together.
    """
    parts = {name: _required(recipe, name) for name in ("matcher", "class_loss", "box_loss")}
    try:
        return DenseCriterion(
            **parts,
            coder=_required(recipe, "coder")(),
            miner=resolve_choice("miner", recipe.miner),
            box_weight=recipe.box_weight,
            distribution_weight=recipe.distribution_weight,
            normalizer=recipe.normalizer,
            class_weights=_class_weights(recipe, counts),
            background_weight=recipe.background_weight,
            num_classes=len(recipe.classes),
        )
    except ValueError as error:  # parts that don't go together
        raise RecipeError(str(error)) from None


def _class_weights(recipe: Recipe, counts: Tensor | None) -> Tensor | ClassWeighting | None:
    named = recipe.weights_by_name()
    if named:
        return torch.tensor([named.get(name, 1.0) for name in recipe.classes])
    scheme = next((known for known in get_args(ClassWeighting) if known == recipe.class_weights), None)
    if scheme is None or recipe.class_weights_over == "batch":
        return scheme
    return None if counts is None else losses.class_weights(counts, scheme)


def _required(recipe: Recipe, kind: str) -> Any:
    return resolve_choice(kind, getattr(recipe, kind))
