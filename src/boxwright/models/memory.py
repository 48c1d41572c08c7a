"""The minimum memory of a network's input: impossible inputs are refused before anything is allocated."""

from __future__ import annotations

from boxwright.data.cache import free_memory
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe

_BYTES = 3 + 3 * 4  # per pixel: as decoded, and as the network's input
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def largest_input(recipe: Recipe) -> tuple[int, int]:
    """Return the sides of the largest input that a recipe can make of an image."""
    return recipe.image_size, recipe.max_size if recipe.resize == "shortest" else recipe.image_size


def check_input(recipe: Recipe, images: int = 1) -> None:
    """Raise RecipeError if a batch of this many images, or one of them, needs more memory than is free."""
    height, width = largest_input(recipe)
    each, free = _BYTES * height * width, free_memory()
    if each > free:
        raise RecipeError(
            f"an input of {height} x {width} pixels takes {_size(each)} of memory, of which {_size(free)} are free: "
            "make image_size smaller"
        )
    if each * images > free:
        raise RecipeError(
            f"a batch of {images} inputs of {height} x {width} pixels takes {_size(each * images)} of memory, of which "
            f"{_size(free)} are free: make batch_size smaller (accumulate=N makes one step of N batches)"
        )


def _size(size: int) -> str:
    """Format bytes in the largest unit not above them."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.3g} {_UNITS[power]}"
