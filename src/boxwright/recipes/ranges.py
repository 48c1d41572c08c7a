"""Which values of a recipe's keys are in range, and go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxwright.errors import RecipeError
from boxwright.recipes.builtin import find_detector
from boxwright.recipes.class_weights import SCHEMES, scheme_of
from boxwright.text import did_you_mean
from boxwright.values import numbers_by_name, parse_range, shown

if TYPE_CHECKING:
    from boxwright.recipes.recipe import Recipe

_POSITIVE = (
    *("image_size", "max_size", "width", "hidden", "proposals", "training_proposals"),
    *("epochs", "batch_size", "accumulate", "lr", "candidates"),
)
"""Keys whose values must be above 0."""


_OF_MAPS = ("image_size", "strides", "anchors")


def check_values(recipe: Recipe) -> None:
    """Raise RecipeError for a value out of its range, and for values that don't go together."""
    _check_ranges(recipe)
    _check_pretrained(recipe)
    _check_class_weights(recipe)
    _check_input(recipe)
    _check_maps(recipe)


def _check_ranges(recipe: Recipe) -> None:
    for name in _POSITIVE:
        if getattr(recipe, name) != "auto" and not getattr(recipe, name) > 0:
            raise RecipeError(f"Expected {name} above 0 but got {getattr(recipe, name)}")
    for name in ("vote", "freeze", "freeze_depthwise", "weight_decay", "clip", "patience"):
        if getattr(recipe, name) < 0:
            raise RecipeError(f"Expected {name} of at least 0 but got {getattr(recipe, name)}")
    for name in ("warmup", "ema", "score", "nms_threshold", "proposal_nms"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise RecipeError(f"Expected {name} in 0..1 but got {getattr(recipe, name)}")
    numbers_by_name("layer_lr", recipe.layer_lr)
    numbers_by_name("layer_delay", recipe.layer_delay, most=1)
    parse_range("depth_range", recipe.depth_range)
    if recipe.max_pixels is not None and recipe.max_pixels < 1:
        raise RecipeError(f"Expected max_pixels of at least 1 but got {recipe.max_pixels}")
    if any(value is not None and len(value) != 3 for value in (recipe.mean, recipe.std)):
        raise RecipeError(
            f"Expected mean and std of three channels but got {shown(recipe.mean)} and {shown(recipe.std)}"
        )
    if recipe.std is not None and min(recipe.std) <= 0:
        raise RecipeError(f"Expected std above 0 but got {shown(recipe.std)}")
    if recipe.background_weight is not None and recipe.background_weight < 0:
        raise RecipeError(f"Expected background_weight of at least 0 but got {recipe.background_weight}")


def _check_pretrained(recipe: Recipe) -> None:
    if recipe.freeze and not recipe.pretrained:
        raise RecipeError("Expected freeze=0 with pretrained=false: stages without weights must learn")
    if recipe.norm_mode in ("eval", "frozen") and not recipe.pretrained:
        raise RecipeError(
            f"Expected norm_mode train or group with pretrained=false but got {recipe.norm_mode}: "
            "BatchNorm without statistics must learn"
        )


def _check_class_weights(recipe: Recipe) -> None:
    scheme = scheme_of(recipe.class_weights)
    if not scheme and recipe.class_weights != "none" and not recipe.weights_by_name():
        hint = did_you_mean(recipe.class_weights, ("none", *SCHEMES))
        raise RecipeError(f"unknown class_weights {shown(recipe.class_weights)}{hint}")
    if recipe.class_weights_over == "samples" and (not scheme or recipe.background_weight != 1):
        raise RecipeError(
            "Expected class_weights to be a scheme, and background_weight 1, with class_weights_over=samples: the "
            f"scheme weighs background too, but got {shown(recipe.class_weights)} and {recipe.background_weight}"
        )


def _check_input(recipe: Recipe) -> None:
    if recipe.augment_on == "device" and recipe.augment not in ("none", "light", "ssd"):
        raise RecipeError(
            f"Expected augment_on to be auto or cpu with an augmentation of your own, {shown(recipe.augment)}: it "
            "runs on the CPU"
        )
    if not recipe.antialias and recipe.resize == "pad":
        raise RecipeError("Expected antialias=true with resize=pad")
    if not recipe.antialias and recipe.decode == "scaled":
        raise RecipeError("Expected antialias=true with decode=scaled")


def _check_maps(recipe: Recipe) -> None:
    undecided, strides = recipe.undecided, recipe.strides
    for name in _OF_MAPS:
        if name in undecided and "strides" in find_detector(recipe.detector).foreign_keys:
            raise RecipeError(f"{name}=auto has no meaning for {recipe.detector}: its maps and anchors are given")
    if "strides" not in undecided and (
        not strides or any(s < 1 for s in strides) or list(strides) != sorted(set(strides))
    ):
        raise RecipeError(f"Expected strides to rise but got {shown(list(strides))}")
    if "image_size" not in undecided and recipe.max_size < recipe.image_size and recipe.resize == "shortest":
        raise RecipeError(f"Expected max_size of at least image_size, {recipe.image_size}, but got {recipe.max_size}")
