"""The rules by which the images of a training decide the keys of a recipe that are "auto".

A rule departs from lite320 (or from the detector's own recipe) only where the data says that it doesn't fit: each
threshold is a share of the objects, or of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.choices import parse_choice
from boxwright.errors import DataError, RecipeError
from boxwright.recipes.keys import DECIDED_KEYS
from boxwright.recipes.objects import input_boxes, shape_of, sides_of
from boxwright.recipes.recipe import Recipe, base_recipe
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset

_FALLBACK = "lite320"
MANY = 0.10
"""Share of the objects from which on a rule departs from the recipe."""
_SOME = 0.01  # share of them that are never left to anchors of less than half their side
_SMALLEST = 0.5  # of an anchor's side: below, objects are small for it
_FINEST = 4  # stride
_LEAST_CELLS = 4  # of the coarsest map's side: fewer hardly tell where an object is
_ENLARGED = (1.3, 1.6, 2.0)  # times the input's side
_STEP = 32  # pixels, which the side is a multiple of
_IMAGES_A_SECOND = 13.0  # that one core trains at 320 px
_LEAST_PASSES = 6  # over the images that larger ones must leave time for
_SPREAD = 1.3  # times the spread of the objects' aspects that a squash may make of it
_LONG = 2.0  # width / height, or its inverse, from which on an anchor is no square
_LONGEST = 4.0
_RARE = 0.05  # share of the images with objects in which a class is at least shown
_USUAL_IMAGES, _FEWEST_EPOCHS, _MOST_EPOCHS = 200, 12, 300
_NEAR = 2.0  # times the usual number of images, or one over it, within which the epochs stay
_NO_OBJECTS = "there are no objects"


class Decision(NamedTuple):
    """Value that a key got which was "auto", and the reason."""

    key: str
    value: Any
    reason: str

    def __str__(self) -> str:
        value = str(list(self.value)).replace(" ", "") if isinstance(self.value, tuple) else self.value
        return f"{self.key}={value}: {self.reason}"


def decide(
    recipe: Recipe, dataset: DetectionDataset, *, minutes: float | None = None, steps: int | None = None
) -> tuple[Recipe, list[Decision]]:
    """Decide what is "auto" in a recipe by the images it is to be trained on, each key with its reason.

    ``minutes`` or ``steps``: the length of the training where that isn't its epochs, which are then left as they are.
    Raises RecipeError where anchors or input are to be decided for a detector whose own anchors are no squares.
    """
    if not (auto := recipe.undecided):
        return recipe, []
    base = _fallback(recipe)
    fitted = recipe.replace(**{key: getattr(base, key) for key in auto})
    decisions: list[Decision] = []
    seen: dict[tuple[int, str, int], NDArray[np.float32]] = {}
    for key in DECIDED_KEYS:
        if key in auto and not (key == "epochs" and (minutes or steps)):
            value, reason = _RULES[key](_Case(fitted, dataset, minutes, seen))
            fitted = fitted.replace(**{key: value})
            decisions.append(Decision(key, getattr(fitted, key), reason))
    return fitted, decisions


def _fallback(recipe: Recipe) -> Recipe:
    """Return the recipe whose values stay where no rule departs from them."""
    own = base_recipe(recipe.detector)
    usual = base_recipe(_FALLBACK)
    return own.replace(**{key: getattr(usual, key) for key in own.undecided})


@dataclass(frozen=True)
class _Case:
    """Input of a rule: the recipe with all that was decided before, and the images."""

    recipe: Recipe
    dataset: DetectionDataset
    minutes: float | None
    seen: dict[tuple[int, str, int], NDArray[np.float32]]
    """Objects by the input that they are in."""

    def boxes(self, **options: Any) -> NDArray[np.float32]:
        """Return (n, 4) the objects in the input."""
        recipe = self.recipe.replace(**options)
        key = (recipe.image_size, recipe.resize, recipe.max_size)
        if key not in self.seen:
            self.seen[key] = input_boxes(self.dataset, recipe)
        return self.seen[key]

    @property
    def scale(self) -> float:
        """Side of an anchor in strides. Raises RecipeError for anchors that are no squares."""
        for text in (self.recipe.anchors, _fallback(self.recipe).anchors):
            choice = parse_choice("anchors", text)
            if choice.name == "squares":
                return float(choice.options.get("scale", 4.0))
        raise RecipeError(f"auto makes squares on the maps: {self.recipe.detector} has anchors {self.recipe.anchors!r}")


def _resize(case: _Case) -> tuple[str, str]:
    """Keep the images' aspect where a square would make the objects' aspects more unlike than they are."""
    usual = case.recipe.resize
    kept, squashed = (_aspect_spread(case.boxes(resize=kind)) for kind in ("pad", "squash"))
    if kept is None or squashed is None:
        return usual, "there are too few objects to tell"
    if usual == "squash" and squashed > _SPREAD * kept:
        return "pad", (
            f"squares of images of aspects from {_aspects(case.dataset)} would make those of the objects "
            f"{squashed / kept:.1f} times as unlike as they are"
        )
    return usual, f"the images' aspects, from {_aspects(case.dataset)}, leave the objects' much as they are"


def _image_size(case: _Case) -> tuple[int, str]:
    """Enlarge the input where many objects are small for the finest map, as far as pixels and time go."""
    usual, sides = case.recipe.image_size, sides_of(case.boxes())
    if not len(sides):
        return usual, _NO_OBJECTS
    least = _SMALLEST * case.scale * min(case.recipe.strides)
    few = f"{_percent(sides < least)} of the objects are smaller than {least:g} px at {usual}"
    if (sides < least).mean() < MANY:
        return usual, few
    allowed = []
    for side in (_STEP * round(usual * factor / _STEP) for factor in _ENLARGED):
        if why := _too_large(side, case):
            break
        allowed.append(side)
        if (sides * side / usual < least).mean() < MANY:
            break
    if not allowed:
        return usual, f"{few}, but {why}"
    side = allowed[-1]
    return side, f"{few}, {_percent(sides * side / usual < least)} at {side}"


def _too_large(side: int, case: _Case) -> str:
    """Why the input's side isn't to be so large; empty where it may be."""
    shapes = _shapes(case.dataset)
    if len(shapes) and side > np.median(shapes.max(1)) + _STEP:
        return f"the images have no more than {np.median(shapes.max(1)):.0f} px"
    if case.minutes is not None:
        passes = case.minutes * 60 * _IMAGES_A_SECOND * (320 / side) ** 2 / max(len(case.dataset), 1)
        if passes < _LEAST_PASSES:
            return f"{case.minutes:g} minutes are too few for {plural(len(case.dataset), 'image')} of {side} px"
    return ""


def _strides(case: _Case) -> tuple[tuple[int, ...], str]:
    """Add a finer map where many objects are small for the finest, and coarser ones for those beyond the coarsest."""
    strides, size, scale = list(case.recipe.strides), case.recipe.image_size, case.scale
    if parse_choice("anchors", case.recipe.anchors).name != "squares":
        return tuple(strides), "the anchors are given for these maps"
    sides = sides_of(case.boxes())
    if not len(sides):
        return tuple(strides), _NO_OBJECTS
    least, most = _SMALLEST * scale * strides[0], scale * strides[-1]
    small, large = sides < least, sides > most
    said = []
    if small.mean() >= MANY and strides[0] > _FINEST:
        strides.insert(0, strides[0] // 2)
        said.append(f"{_percent(small)} are smaller than {least:g} px: a map of stride {strides[0]} added")
    added = []
    while _beyond(sides, scale * strides[-1]) and 2 * strides[-1] * _LEAST_CELLS <= size:
        strides.append(2 * strides[-1])
        added.append(f"{strides[-1]}")
    if added:
        maps = "a map of stride" if len(added) == 1 else "maps of stride"
        said.append(f"{_percent(large)} are larger than {most:g} px: {maps} {' and '.join(added)} added")
    if not said:
        said = [f"{_percent(small)} are smaller than {least:g} px, {_percent(large)} larger than {most:g} px"]
    return tuple(strides), f"of the objects at {size}, {'; '.join(said)}"


def _beyond(sides: NDArray[np.float64], largest: float) -> bool:
    return bool((sides > largest).mean() >= MANY or (sides > 2 * largest).mean() >= _SOME)


def _anchors(case: _Case) -> tuple[str, str]:
    """Squares, unless most objects are long the same way; on a map that was added none larger than any object."""
    strides, scale, boxes = case.recipe.strides, case.scale, case.boxes()
    sides = [scale * stride for stride in strides]
    squares = f"squares:scale={scale:g}"
    if not len(boxes):
        return squares, _NO_OBJECTS
    largest = float(sides_of(boxes).max())
    usual = scale * max(_fallback(case.recipe).strides)
    sides = [min(side, max(largest, usual)) for side in sides]
    low, middle, high = np.quantile(_log_aspects(boxes), (0.25, 0.5, 0.75))
    aspect = float(np.exp(np.clip(middle, -np.log(_LONGEST), np.log(_LONGEST))))
    if not (max(aspect, 1 / aspect) >= _LONG and low * high > 0):
        if sides[-1] == scale * strides[-1]:
            return squares, f"half of the objects are {_aspect(low)} to {_aspect(high)} times as wide as high"
        aspect, why = 1.0, f"the largest object has {largest:.0f} px"
    else:
        why = f"half of the objects are {_aspect(low)} to {_aspect(high)} times as wide as high"
    root = aspect**0.5
    return f"shapes:levels={' / '.join(f'{side * root:.4g}x{side / root:.4g}' for side in sides)}", why


def _sampling(case: _Case) -> tuple[str, str]:
    """Repeat images with a class that few have."""
    data = case.dataset
    images = np.repeat(np.arange(len(data)), np.diff(data.offsets))
    holding = len(np.unique(images))
    counts = np.array([len(np.unique(images[data.labels == label])) for label in range(len(data.classes))])
    rare = [name for name, count in zip(data.classes, counts.tolist(), strict=True) if 0 < count < _RARE * holding]
    if not rare:
        return "uniform", f"every class that is there is in {_RARE:.0%} of the images with objects".replace("%", " %")
    named = ", ".join(rare[:3]) + (", ..." if len(rare) > 3 else "")
    return (
        f"repeat_factor:threshold={_RARE * holding / len(data):.4g}",
        f"{plural(len(rare), 'class')} ({named}) in fewer than {_RARE:.0%} of them".replace("%", " %"),
    )


def _epochs(case: _Case) -> tuple[int, str]:
    """Fewer passes over more images: their number goes with one over the square root of that of the images."""
    usual, images = case.recipe.epochs, max(len(case.dataset), 1)
    said = plural(len(case.dataset), "image")
    if 1 / _NEAR <= images / _USUAL_IMAGES <= _NEAR:
        return usual, said
    epochs = round(usual * (_USUAL_IMAGES / images) ** 0.5)
    return min(max(epochs, _FEWEST_EPOCHS), _MOST_EPOCHS), said


def _flip(case: _Case) -> tuple[str, str]:
    return "horizontal", "upside down only where flip=both asks for it"


_RULES: dict[str, Callable[[_Case], tuple[Any, str]]] = {
    "image_size": _image_size,
    "resize": _resize,
    "strides": _strides,
    "anchors": _anchors,
    "sampling": _sampling,
    "epochs": _epochs,
    "flip": _flip,
}


def _shapes(dataset: DetectionDataset) -> NDArray[np.int32]:
    """Return (n, 2) height and width of the images, where known."""
    read = []
    for place in np.flatnonzero(dataset.sizes[:, 0] == 0).tolist():
        with suppress(DataError):
            read.append(shape_of(dataset, place))
    annotated = dataset.sizes[dataset.sizes[:, 0] > 0]
    return np.concatenate([annotated, np.array(read, np.int32).reshape(-1, 2)])


def _aspects(dataset: DetectionDataset) -> str:
    shapes = _shapes(dataset)
    low, high = np.quantile(np.log(shapes[:, 1] / shapes[:, 0]), (0.1, 0.9))
    return f"{_aspect(low)} to {_aspect(high)}"


def _log_aspects(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    return np.asarray(np.log(sides[:, 0] / sides[:, 1]))


def _aspect_spread(boxes: NDArray[np.float32]) -> float | None:
    """Standard deviation of ln(width / height); None for fewer than two objects."""
    return float(_log_aspects(boxes).std()) if len(boxes) > 1 else None


def _aspect(logarithm: float) -> str:
    return f"{np.exp(logarithm):.2f}"


def _percent(chosen: NDArray[np.bool_]) -> str:
    return f"{100 * chosen.mean():.0f} %"
