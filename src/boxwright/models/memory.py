"""The least memory that a network's input takes: one that can't be there is refused before anything is made of it."""

from __future__ import annotations

from boxwright.data.cache import free_memory
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe

_BYTES = 3 + 3 * 4  # of a pixel: as decoded, and as the network takes it
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def largest_input(recipe: Recipe) -> tuple[int, int]:
    """Sides of the largest input that a recipe makes of an image."""
    return recipe.image_size, recipe.max_size if recipe.resize == "shortest" else recipe.image_size


def check_input(recipe: Recipe, images: int = 1) -> None:
    """Raise RecipeError where a batch of so many images, or one of them, needs more memory than is free."""
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
    """Bytes in the largest unit that is less."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.3g} {_UNITS[power]}"
