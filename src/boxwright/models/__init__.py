"""Detectors by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from boxwright import losses
from boxwright.choices import resolve_choice
from boxwright.coding import BoxCoder, DistributionCoder
from boxwright.criterion import DenseCriterion
from boxwright.errors import RecipeError
from boxwright.models.backbones import Backbone, replace_batch_norm
from boxwright.models.detector import DenseDetector
from boxwright.models.lite import LiteNet
from boxwright.recipes import Recipe, get_recipe, list_recipes

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
    class_loss = _required(recipe, "class_loss")
    softmax = losses.info(class_loss).kind == "softmax"
    coder: BoxCoder = _required(recipe, "coder")()
    backbone = Backbone(
        recipe.backbone,
        recipe.strides,
        pretrained=recipe.pretrained if pretrained is None else pretrained,
        freeze=recipe.freeze,
        freeze_depthwise=recipe.freeze_depthwise if recipe.pretrained else 0,
        norm_mode=recipe.norm_mode,
    )
    spec = _required(recipe, "anchors")(strides=recipe.strides)
    net = LiteNet(backbone, len(recipe.classes) + softmax, _starting_deltas(coder), recipe.width)
    if recipe.norm_mode == "group":
        replace_batch_norm(net)
    detector = DenseDetector(net, spec, coder, recipe, mean=backbone.mean, std=backbone.std, softmax=softmax)
    return detector.to(memory_format=torch.channels_last)


def build_criterion(recipe: Recipe, class_weights: Tensor | None = None) -> DenseCriterion:
    """The supervision of a recipe; ``class_weights`` (K,) scale its classification loss.

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
            class_weights=class_weights,
        )
    except ValueError as error:  # parts that don't go together
        raise RecipeError(str(error)) from None


def _required(recipe: Recipe, kind: str) -> Any:
    return resolve_choice(kind, getattr(recipe, kind))


def _starting_deltas(coder: BoxCoder) -> Tensor:
    """(D,) what an untrained head should say: a box like its anchor."""
    if not isinstance(coder, DistributionCoder):
        return torch.zeros(coder.size)
    half_side = 0.5 / coder.step  # in bins
    return (-0.5 * (torch.arange(coder.bins) - half_side).abs()).repeat(4)
