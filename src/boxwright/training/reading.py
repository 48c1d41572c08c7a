"""The data sets of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from boxwright._util.printing import say
from boxwright.data import DetectionDataset, available_splits, read_dataset
from boxwright.errors import DataError
from boxwright.recipes import Recipe
from boxwright.text import plural
from boxwright.training.options import RunOptions


def read_data(
    data: str | Path | DetectionDataset,
    validation: DetectionDataset | None,
    recipe: Recipe,
    options: RunOptions,
    console: Console,
) -> tuple[DetectionDataset, DetectionDataset | None]:
    """Training and validation set, said on the console. Raises DataError where there is nothing to train on."""
    if isinstance(data, DetectionDataset):
        training = data
    else:
        training, validation = _read_splits(data, recipe, options, console)
    if validation is not None:
        depth_range = training.pixels.depth_range
        validation = replace(validation, pixels=replace(validation.pixels, depth_range=depth_range))
    if validation is not None and len(validation) == 0:
        say(console, "no image to validate on: the last weights will be the model")
        validation = None
    if len(training) == 0:
        raise DataError(f"{training.root}: no image to train on in split {training.split!r}")
    for dataset in filter(None, (training, validation)):
        if not dataset.has_images:
            raise DataError(f"{dataset.root}: there is none of the images that split {dataset.split!r} names")
        say(console, _describe(dataset))
    return training, validation


def _read_splits(
    data: str | Path, recipe: Recipe, options: RunOptions, console: Console
) -> tuple[DetectionDataset, DetectionDataset | None]:
    classes = recipe.classes or None
    training = read_dataset(data, options.split, classes=classes, negatives=recipe.negatives, **recipe.reader_options)
    if options.val_split is None:
        return training, None
    if options.val_split == "val" and "val" not in available_splits(data):
        say(console, f"no val split in {data}: the last weights will be the model")
        return training, None
    settled = recipe.reader_options | training.pixels.to_dict()
    return training, read_dataset(data, options.val_split, classes=training.classes, **settled)


def _describe(dataset: DetectionDataset) -> str:
    left_out = dataset.left_out.summary()
    empty = int((np.diff(dataset.offsets) == 0).sum())
    names = ", ".join([*dataset.classes[:8], *(["..."] if len(dataset.classes) > 8 else [])])
    return (
        f"{dataset.split or 'data'}: {plural(len(dataset), 'image')} ({empty} without objects), "
        f"{plural(len(dataset.boxes), 'box')}, {plural(len(dataset.classes), 'class')} ({names})"
        + (f"; {left_out}" if left_out else "")
    )
