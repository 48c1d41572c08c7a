"""The anchors that a recipe names, in the form its detector supports."""

from __future__ import annotations

from typing import Any

from boxwright.anchors import AnchorSpec
from boxwright.choices import naming_failures, resolve_choice
from boxwright.data.transforms import BATCH_MULTIPLE
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe


def chosen_anchors(recipe: Recipe, **options: Any) -> AnchorSpec:
    """Return the recipe's anchors, with further options.

    Raises:
        RecipeError: If an option's value is invalid, and for torchvision's anchors without its padding.
    """
    try:
        with naming_failures("anchors", recipe.anchors):
            spec = resolve_choice("anchors", recipe.anchors)(**options)  # type: ignore[misc]
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(f"anchors {recipe.anchors!r}: {error}") from None
    if not isinstance(spec, AnchorSpec):
        raise RecipeError(f"Expected anchors={recipe.anchors} to return an AnchorSpec but got {type(spec).__name__}")
    if spec.fitted and recipe.resize != "shortest" and recipe.image_size % BATCH_MULTIPLE:
        raise RecipeError(
            f"Expected image_size to be a multiple of {BATCH_MULTIPLE} with anchors {recipe.anchors!r}, whose cells "
            f"are spaced for torchvision's padding, but got {recipe.image_size}"
        )
    return spec


def one_a_cell(recipe: Recipe) -> AnchorSpec:
    """Return the anchors, on the recipe's strides, of a detector with one per cell; raises RecipeError for others."""
    if recipe.anchors.startswith(("squares", "shapes")):
        spec = chosen_anchors(recipe, strides=recipe.strides)
        if all(len(level.shapes) == 1 for level in spec.levels):
            return spec
    raise RecipeError(
        f"{recipe.detector} has one anchor a cell, squares or one of shapes: its anchors can't be {recipe.anchors}"
    )
