"""Choose how many processes augment, if the user does not say. Results do not depend on it."""

from __future__ import annotations

import multiprocessing
from time import process_time

import numpy as np
import torch

from boxwright.data import DetectionDataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import TrainingSet
from boxwright.environment import usable_cores
from boxwright.recipes import Recipe
from boxwright.training.distributed import Ranks
from boxwright.training.options import RunOptions
from boxwright.training.workers import free_shared_memory, pixels_a_sample, shared_by_batches

_MOST, _MOST_ON_CPU = 16, 2
"""3.5 ms per image of 320 pixels, measured: 16 make 4,500 a second, and 2 more than processors train on."""
_SAMPLED = 8  # images that are augmented to measure the cost
_START = {"fork": 0.1}  # processor seconds to start a worker, measured and rounded up
_START_ANEW = 6.0  # without fork torch is imported again
_SHARE = 0.1  # largest cost of starting the workers, relative to all augmenting


def choose_workers(
    dataset: DetectionDataset, recipe: Recipe, options: RunOptions, ranks: Ranks, *, windows: bool = False
) -> int:
    """Choose the number of workers: as many as there are spare cores, if starting them pays off.

    It is 0 if the set is so small, or the training so short, that starting one costs more than a tenth of all
    augmenting; fewer if their batches would take more than half of the free shared memory.
    """
    accelerator = options.accelerator()
    batches = -(-len(dataset) // recipe.images_a_batch)
    most = min(
        _MOST_ON_CPU if accelerator == "cpu" else _MOST,
        spare_cores(accelerator, usable_cores() // ranks.on_machine),
        batches,
    )
    if most < 1:
        return 0
    seconds = _seconds_of_augmenting(dataset, recipe, options, windows) / ranks.world
    most = min(most, worth_starting(seconds, multiprocessing.get_start_method()))
    images = min(recipe.images_a_batch // ranks.world, len(dataset))
    free = free_shared_memory() / 2 / ranks.on_machine  # the other half is for the decoded images
    pixels = pixels_a_sample(dataset.sizes, recipe, windows)
    return next((count for count in range(most, 0, -1) if shared_by_batches(pixels, count, images) <= free), 0)


def spare_cores(accelerator: str, cores: int) -> int:
    """Count the cores that a training leaves to workers.

    On a GPU all but the one that launches its kernels. On a CPU those beyond twice the number of computing threads,
    since two logical cores may share a physical one.
    """
    return max(cores - (2 * torch.get_num_threads() if accelerator == "cpu" else 1), 0)


def worth_starting(seconds: float, method: str) -> int:
    """Count the workers that are worth starting for this many processor seconds of augmenting."""
    return int(_SHARE * seconds / _START.get(method, _START_ANEW))


def _seconds_of_augmenting(dataset: DetectionDataset, recipe: Recipe, options: RunOptions, windows: bool) -> float:
    """Estimate the processor seconds of the whole training's augmentation from a few images; at most its minutes."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(_SAMPLED, len(dataset))).astype(np.int64))
    cache = ImageCache(dataset.subset(rows), reduction=recipe.reduction(training=True))
    faults = cache.fill()
    readable = [row for row in range(len(rows)) if row not in faults]
    images = TrainingSet(cache, readable, recipe.input_size, recipe.augmentation, options.seed, windows=windows)
    began = process_time()
    for place in range(len(readable)):
        images[place]
    each = (process_time() - began) / max(len(readable), 1)
    if options.minutes is not None:
        return 60 * options.minutes
    if options.steps is not None:
        return each * options.steps * recipe.images_a_batch * recipe.accumulate
    return each * recipe.epochs * len(dataset)
