"""The data sets of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from boxwright._util.printing import say
from boxwright.data import NORMAL, DetectionDataset, available_splits, read_dataset
from boxwright.data.readers.reader import finding
from boxwright.data.reading import NoImagesError, TooFewImagesError
from boxwright.errors import DataError
from boxwright.recipes import Recipe
from boxwright.text import plural
from boxwright.training.options import RunOptions

FEW = 20
"""With fewer images, AP, and the epoch with the best AP, are mostly chance."""


def read_data(
    data: str | Path | DetectionDataset,
    validation: DetectionDataset | None,
    recipe: Recipe,
    options: RunOptions,
    console: Console,
) -> tuple[DetectionDataset, DetectionDataset | None]:
    """Read training and validation set and describe them on the console; raises DataError if training is impossible."""
    if isinstance(data, DetectionDataset):
        training = data
    else:
        training, validation = _read_splits(data, recipe, options, console)
    if validation is not None:
        depth_range = training.pixels.depth_range
        validation = replace(validation, pixels=replace(validation.pixels, depth_range=depth_range))
    check_trainable(training)
    if validation is not None and len(validation) == 0:
        say(console, "no image to validate on: the last weights will be the model")
        validation = None
    for dataset in filter(None, (training, validation)):
        if not dataset.has_images:
            raise DataError(f"{dataset.root}: there is none of the images that split {dataset.split!r} names")
        say(console, _describe(dataset))
    for warning in _warnings(training, validation, recipe):
        say(console, f"warning: {warning}", "yellow")
    return training, validation


def check_trainable(dataset: DetectionDataset, readable: Sequence[int] | None = None) -> None:
    """Raise DataError unless there is a box to learn from, in one of the ``readable`` images (None: all)."""
    rows = range(len(dataset)) if readable is None else readable
    if any((dataset.target(row).code == NORMAL).any() for row in rows):
        return
    found = f"{plural(len(rows), 'image')} and no box to learn from" if len(rows) else "no image to train on"
    left_out = dataset.left_out.summary()
    raise DataError(
        f"nothing-to-train: {dataset.root}: {f'split {dataset.split!r}' if dataset.split else 'the data'} has {found}"
        + (f"; {left_out}" if left_out else "")
        + f": boxwright check {dataset.root} shows what is wrong"
    )


def _warnings(training: DetectionDataset, validation: DetectionDataset | None, recipe: Recipe) -> Iterator[str]:
    """Yield warnings about validations that say little or nothing."""
    images = len(training) + (0 if validation is None else len(validation))
    if validation is not None and not (validation.code == NORMAL).any():
        what = "all its boxes are difficult or crowds" if len(validation.boxes) else "it has no box"
        of = f" of {', '.join(recipe.classes)}" if recipe.classes else ""
        which = "averaged " if recipe.ema else ""
        patience = ", and patience can't end the training" if recipe.patience else ""
        yield (
            f"AP can't be computed on split {validation.split!r}, {what}{of}: the last {which}weights will be the "
            f"model{patience}. --val-split NAME validates on another split"
        )
    elif images < FEW:
        little = "" if validation is None else f" AP on {plural(len(validation), 'image')} says little,"
        yield f"only {plural(images, 'image')}:{little} more of them help more than any option"


def _read_splits(
    data: str | Path, recipe: Recipe, options: RunOptions, console: Console
) -> tuple[DetectionDataset, DetectionDataset | None]:
    reading = recipe.reader_options | finding(options)
    try:
        training = read_dataset(
            data, options.split, classes=recipe.classes or None, negatives=recipe.negatives, **reading
        )
    except NoImagesError as error:
        raise DataError(f"nothing-to-train: {error}") from None
    if options.val_split is None:
        return training, None
    if options.val_split == "val" and "val" not in available_splits(data, reader=reading["reader"], **finding(options)):
        say(console, f"no val split in {data}: the last weights will be the model")
        return training, None
    settled = reading | training.pixels.to_dict()
    try:
        validation = read_dataset(data, options.val_split, classes=training.classes, **settled)
    except TooFewImagesError:
        if options.val_split != "val":
            raise
        say(console, f"too few images in {data} to keep some for validation: the last weights will be the model")
        return training, None
    return training, validation


def _describe(dataset: DetectionDataset) -> str:
    left_out = dataset.left_out.summary()
    empty = int((np.diff(dataset.offsets) == 0).sum())
    names = ", ".join([*dataset.classes[:8], *(["..."] if len(dataset.classes) > 8 else [])])
    return (
        f"{dataset.split or 'data'}: {plural(len(dataset), 'image')} ({empty} without objects), "
        f"{plural(len(dataset.boxes), 'box')}, {plural(len(dataset.classes), 'class')} ({names})"
        + (f"; {left_out}" if left_out else "")
    )
