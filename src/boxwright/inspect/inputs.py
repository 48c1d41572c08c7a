"""The inputs of a training as its network gets them: made by the training's own parts, in its order, by its seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxwright.data import NORMAL, DetectionDataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import Batch, TrainingSet, collate
from boxwright.data.sampling import EpochPlaces, Showing, decode, encode
from boxwright.errors import RecipeError
from boxwright.inspect.supervision import Advance
from boxwright.recipes import Recipe, get_recipe
from boxwright.recipes.fit import decide
from boxwright.training.batches import repeats_of
from boxwright.training.epochs import EndlessBatches
from boxwright.training.reading import check_trainable
from boxwright.training.targets import TargetsError, check_targets

INPUTS = 24
EPOCHS = 4
"""In which the first images are shown once more."""
REPEATED = 4
"""Images that are."""
MOST_TRIED = 2000
"""Images of a data set that are all decoded first, as training does it, to leave out those that can't be."""


@dataclass(frozen=True)
class View:
    """One input with its targets."""

    name: str
    """Of the image file, as the data set names it."""
    place: int
    """Of the image in the data set."""
    epoch: int
    """From 0."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as it enters the network but for the normalization."""
    boxes: NDArray[np.float32]
    """(g, 4) xyxy, pixels of the input."""
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    """(g,) crowd and difficult boxes, which are no objects."""
    objects: int
    """That the image has, those that the input doesn't show too."""

    @property
    def kept(self) -> int:
        """Objects that the input shows."""
        return int((~self.ignore).sum())


@dataclass(frozen=True)
class Inputs:
    """What ``training_inputs`` finds."""

    dataset: DetectionDataset
    recipe: Recipe
    seed: int
    batches: list[Batch]
    """The first of the training, as a step gets them."""
    views: list[View]
    """Of these batches, in their order."""
    again: list[list[View]]
    """The first images in the first epochs; empty where nothing varies."""
    unreadable: int | None
    """Images that are left out since they can't be decoded; None where not all were tried."""


def training_inputs(
    dataset: DetectionDataset,
    recipe: Recipe | str | Path = "lite320",
    *,
    seed: int = 0,
    inputs: int = INPUTS,
    advance: Advance = lambda done, total: None,
) -> Inputs:
    """Make the first ``inputs`` network inputs of a training: after augmentation and resize, with their targets.

    They are those of ``train`` with this recipe and seed, pixel by pixel, where the inputs are made on the CPU
    (``augment_on=cpu``) on one device. Of more than 2,000 images those that can't be decoded aren't looked for: if
    there are any, the training's order is another. With ``batch_size=auto`` all inputs are taken for one batch.
    ``advance`` is called with the number of images decoded and their total.

    Raises DataError where there is nothing to train on, where an augmentation of your own fails, and where it leaves
    boxes that can't be learnt; RecipeError for less than one input.
    """
    if inputs < 1:
        raise RecipeError(f"Expected at least one input but got {inputs}")
    recipe = recipe if isinstance(recipe, Recipe) else get_recipe(recipe)
    recipe = decide(recipe, dataset)[0].replace(classes=dataset.classes)
    if recipe.batch_size == "auto":
        recipe = recipe.replace(batch_size=inputs)
    cache = ImageCache(dataset, reduction=recipe.reduction(training=True))
    tried = len(dataset) <= MOST_TRIED
    faults = cache.fill(lambda done: advance(done, len(dataset))) if tried else {}
    readable = [place for place in range(len(dataset)) if place not in faults]
    check_trainable(dataset, readable)
    on_device = recipe.augment_on == "device"
    images = TrainingSet(cache, readable, recipe.input_size, recipe.augmentation, seed, windows=on_device)
    size = recipe.images_a_batch
    places = EpochPlaces(len(readable), seed, batch_size=size, repeats=repeats_of(recipe, dataset, readable))
    keys = list(islice(EndlessBatches(places, size), -(-inputs // min(size, len(places)))))
    batches = [_batch(images, some, recipe) for some in keys]
    shown = zip((key for some in keys for key in some), _views(batches, dataset), strict=True)
    views = [replace(view, epoch=decode(key, len(readable)).epoch) for key, view in islice(shown, inputs)]
    return Inputs(dataset, recipe, seed, batches, views, _again(images, views, recipe), len(faults) if tried else None)


def _batch(images: TrainingSet, keys: Sequence[int], recipe: Recipe) -> Batch:
    """A batch as the training step gets it. Raises DataError for targets that can't be learnt."""
    dataset = images.cache.dataset
    batch = collate([images[key] for key in keys], recipe.input_size.multiple)
    try:
        check_targets(batch, len(dataset.classes), validation=False)
    except TargetsError as error:
        raise error.explained([dataset]) from None
    return batch.resampled()


def _again(images: TrainingSet, views: Sequence[View], recipe: Recipe) -> list[list[View]]:
    if recipe.augmentation.kind == "none" and recipe.flip == "none" and recipe.augmentation.own is None:
        return []
    dataset = images.cache.dataset
    order = list(dict.fromkeys(images.indices.index(view.place) for view in views))[:REPEATED]
    rows = []
    for place in order:
        keys = [encode(Showing(epoch, 0, place), len(images)) for epoch in range(EPOCHS)]
        made = _views([_batch(images, [key], recipe) for key in keys], dataset)
        rows.append([replace(view, epoch=epoch) for epoch, view in enumerate(made)])
    return rows


def _views(batches: Sequence[Batch], dataset: DetectionDataset) -> Iterator[View]:
    """The inputs of the batches one by one, all as of epoch 0."""
    for batch in batches:
        for row, place in enumerate(batch.indices.tolist()):
            given = batch.targets.labels[row] >= 0
            yield View(
                name=dataset.name(place),
                place=place,
                epoch=0,
                image=batch.images[row].permute(1, 2, 0).contiguous().numpy(),
                boxes=batch.targets.boxes[row][given].numpy(),
                labels=batch.targets.labels[row][given].numpy(),
                ignore=batch.targets.ignore[row][given].numpy(),
                objects=int((dataset.target(place).code == NORMAL).sum()),
            )
