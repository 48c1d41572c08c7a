"""Detectors by name."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Unpack

import torch

from boxwright._util.memory import out_of_memory
from boxwright.choices import is_own, required
from boxwright.coding import BoxCoder
from boxwright.errors import BoxwrightWarning, MissingWeights, RecipeError
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector, Network
from boxwright.models.faster_rcnn import TwoStageDetector
from boxwright.models.layers import has_depthwise, replace_batch_norm
from boxwright.models.memory import check_input
from boxwright.parts import ClassKind, class_loss_info
from boxwright.recipes import DetectorSpec, Recipe, RecipeKeys, find_detector, get_recipe, list_recipes

__all__ = [
    "Backbone",
    "DenseDetector",
    "Detector",
    "Network",
    "TwoStageDetector",
    "build_detector",
    "create_detector",
    "list_detectors",
    "make_backbone",
]


def list_detectors() -> list[str]:
    """List the names that ``create_detector`` accepts.

    Examples:
        >>> "ssd300" in bw.list_detectors()
        True
    """
    return list_recipes()


def create_detector(name: str, num_classes: int, **options: Unpack[RecipeKeys]) -> Detector:
    """Create a detector for ``num_classes`` foreground classes, with recipe keys as options.

    Args:
        name: A detector, see ``list_detectors``.
        num_classes: Number of classes without background.
        options: Keys of the detector's recipe.

    Raises:
        RecipeError: For an unknown name, key or value.

    Examples:
        >>> detector = bw.create_detector("lite320", 3).eval()
        >>> image = torch.zeros(3, 240, 320, dtype=torch.uint8)
        >>> [found] = detector.predict([image], score=0.9)
        >>> found.boxes.shape
        torch.Size([0, 4])
    """
    recipe = get_recipe(name, **options)
    if not recipe.classes:
        recipe = recipe.replace(classes=[f"class_{i}" for i in range(num_classes)])
    if len(recipe.classes) != num_classes:
        raise RecipeError(f"Expected {num_classes} class names but got {len(recipe.classes)}")
    return build_detector(recipe)


def build_detector(recipe: Recipe, *, pretrained: bool | None = None) -> Detector:
    """Build the detector of a recipe whose classes are known; ``pretrained`` is False if weights are loaded afterwards.

    If the backbone's published weights cannot be fetched, a BoxwrightWarning says so, and the detector gets a recipe
    that learns everything from scratch.

    Raises:
        RecipeError: If the recipe's parts do not fit together, or its input needs more memory than there is.
    """
    recipe.check_decided()
    check_input(recipe)
    with out_of_memory(f"the network of {recipe.detector}", "a smaller width, image_size or backbone takes less"):
        return _build_with_weights(recipe, pretrained)


def _build_with_weights(recipe: Recipe, pretrained: bool | None) -> Detector:
    try:
        return _build(recipe, recipe.pretrained if pretrained is None else pretrained)
    except MissingWeights as error:
        scratch, before = recipe.from_scratch(), recipe.to_dict()
        changed = ", ".join(f"{key}={value}" for key, value in scratch.to_dict().items() if value != before[key])
        warnings.warn(
            f"{error}: everything is learned from scratch ({changed}), which takes many more images and epochs. Set "
            "pretrained=FILE to start from weights of your own, or backbone=tf_efficientnet_lite0, whose weights "
            "install with boxwright",
            BoxwrightWarning,
            stacklevel=3,
        )
        return _build(scratch, False)


def _build(recipe: Recipe, pretrained: bool | str) -> Detector:
    softmax = _activation(recipe) == "softmax"
    try:
        coder: BoxCoder = required("coder", recipe.coder)()
    except ValueError as error:  # an option out of range
        raise RecipeError(str(error)) from None
    spec = find_detector(recipe.detector)
    network = _build_network(spec, recipe, len(recipe.classes) + softmax, coder, pretrained)
    if recipe.norm_mode == "group":
        replace_batch_norm(network.net)
    # In float32 the backward pass of plain convolutions is faster with contiguous channels on processors that have only
    # AVX2, while that of depthwise ones is slower on all.
    memory_format = torch.channels_last if has_depthwise(network.net) else torch.contiguous_format
    kind = TwoStageDetector if spec.two_stage else DenseDetector
    if is_own("class_loss", recipe.class_loss):  # so that prediction need not import it
        recipe = recipe.replace(activation="softmax" if softmax else "sigmoid")
    return kind(network, coder, recipe, softmax=softmax).set_memory_format(memory_format)


def _activation(recipe: Recipe) -> ClassKind:
    """Return the function from logits to scores, also for a recipe without a class loss, such as a custom model's."""
    if is_own("class_loss", recipe.class_loss) and recipe.activation is not None:
        return recipe.activation
    kind = class_loss_info(required("class_loss", recipe.class_loss)).kind
    if recipe.activation not in (None, kind):
        raise RecipeError(
            f"Expected activation={kind}, as class_loss={recipe.class_loss} declares, but got {recipe.activation}"
        )
    return kind


def _build_network(spec: DetectorSpec, *inputs: Any) -> Network:
    if callable(spec.build):
        built: Network = spec.build(*inputs)
    else:
        module, _, function = spec.build.partition(":")
        built = getattr(import_module(module), function)(*inputs)
    return built
