"""The inputs of a training exactly as its network gets them: same parts, same order, same seed."""

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
"""Number of epochs in which the first images are shown again."""
REPEATED = 4
"""Number of images shown again."""
MOST_TRIED = 2000
"""Data sets up to this size are decoded first, as in training, to leave out images that cannot be decoded."""


@dataclass(frozen=True)
class View:
    """One input with its targets."""

    name: str
    """Name of the image file in the data set."""
    place: int
    """Index of the image in the data set."""
    epoch: int
    """Counted from 0."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as it enters the network except for the normalization."""
    boxes: NDArray[np.float32]
    """(g, 4) xyxy, pixels of the input."""
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    """(g,) crowd and difficult boxes, which do not count as objects."""
    objects: int
    """Objects in the image, including those that the input does not show."""

    @property
    def kept(self) -> int:
        """The number of objects that the input shows."""
        return int((~self.ignore).sum())


@dataclass(frozen=True)
class Inputs:
    """The result of ``training_inputs``."""

    dataset: DetectionDataset
    recipe: Recipe
    seed: int
    batches: list[Batch]
    """The first batches of the training, as a step gets them."""
    views: list[View]
    """The inputs of these batches, in order."""
    again: list[list[View]]
    """The first images in the first epochs; empty if nothing varies."""
    unreadable: int | None
    """Number of images left out because they cannot be decoded; None if not all were tried."""


def training_inputs(
    dataset: DetectionDataset,
    recipe: Recipe | str | Path = "lite320",
    *,
    seed: int = 0,
    inputs: int = INPUTS,
    advance: Advance = lambda done, total: None,
) -> Inputs:
    """Make the first ``inputs`` network inputs of a training: after augmentation and resize, with their targets.

    They equal those of ``train`` with this recipe and seed, pixel by pixel, when inputs are made on the CPU
    (``augment_on=cpu``) on one device. Among more than 2,000 images, those that cannot be decoded are not searched for:
    if there are any, the training's order differs. With ``batch_size=auto`` all inputs form one batch. ``advance`` is
    called with the number of images decoded and their total.

    Raises:
        DataError: If there is nothing to train on, your own augmentation fails, or it leaves boxes that cannot be
            learned.
        RecipeError: If ``inputs`` is less than one.
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
    """Build a batch as the training step gets it; raises DataError for targets that cannot be learned."""
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
    """Split the batches into single inputs, all as of epoch 0."""
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
