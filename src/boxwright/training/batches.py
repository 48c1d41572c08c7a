"""The loaders of a training, over images that are decoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch.utils.data import DataLoader

from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright.check.images import ImageFacts, look_at
from boxwright.choices import naming_failures, resolve_choice
from boxwright.data import DetectionDataset
from boxwright.data.cache import ImageCache, free_memory
from boxwright.data.decoded import Decoded, Reduction
from boxwright.data.loading import TrainingSet
from boxwright.data.sampling import EpochPlaces, ValidationPlaces
from boxwright.data.transforms import Augmentation
from boxwright.environment import usable_cores
from boxwright.errors import DataError, RecipeError
from boxwright.recipes import Recipe
from boxwright.text import plural
from boxwright.training.distributed import Ranks
from boxwright.training.epochs import EndlessBatches, EpochLoader
from boxwright.training.options import RunOptions
from boxwright.training.reading import check_trainable
from boxwright.training.record import CHECKED_IMAGES
from boxwright.training.worker_count import choose_workers
from boxwright.training.workers import (
    AHEAD,
    SHARED,
    CollateInWorker,
    check_shared_memory,
    pixels_a_sample,
    shared_by_batches,
    start_worker,
)

_ENOUGH_CORES = 8
"""For a process: workers on more of them augment faster than a GPU is fed with the larger windows (15 workers made 772
images a second of `lite320`, and windows of 4 workers 579, measured on an H100)."""


class Batches:
    """The inputs of a training: the loaders, the order of the images, and the images that cannot be decoded."""

    def __init__(
        self,
        training: DetectionDataset,
        validation: DetectionDataset | None,
        recipe: Recipe,
        options: RunOptions,
        ranks: Ranks,
        console: Console,
    ) -> None:
        self.unreadable: dict[str, str] = {}
        self.facts: dict[str, ImageFacts] = {}
        """Facts from decoding the images, by path, so that the check of the data set need not decode them again."""
        self.datasets = [training] if validation is None else [training, validation]
        self._recipe, self._options, self._ranks, self._console = recipe, options, ranks, console
        self._pinned = options.accelerator() != "cpu"
        self._windows = augments_on_device(recipe, options, ranks)
        self.workers = options.workers if options.workers != "auto" else self._choose_workers(training)
        most = min(recipe.images_a_batch // ranks.world, len(training))
        pixels = pixels_a_sample(training.sizes, recipe, self._windows)
        self._for_batches = shared_by_batches(pixels, self.workers, most)
        check_shared_memory(self._for_batches, self.workers)
        cache, readable = self._decode(training, recipe.reduction(training=True))
        if not readable:
            raise DataError(f"{training.root}: none of the {len(training)} training images can be decoded")
        check_trainable(training, readable)
        self.images = len(readable)
        self.places = EpochPlaces(
            len(readable),
            options.seed,
            batch_size=recipe.images_a_batch,
            rank=ranks.rank,
            world=ranks.world,
            repeats=repeats_of(recipe, training, readable),
        )
        images = TrainingSet(
            cache, readable, recipe.input_size, recipe.augmentation, options.seed, windows=self._windows
        )
        self._batch_size = recipe.images_a_batch // ranks.world
        keys = EndlessBatches(self.places, self._batch_size)
        self.training = EpochLoader(self._loader(images, self.workers, batch_sampler=keys), keys)
        self.validation: DataLoader[Any] | None = None
        if validation is not None:
            cache, readable = self._decode(validation, recipe.reduction())
            # On the CPU, as in prediction: validation sees what will be predicted.
            fixed = TrainingSet(cache, readable, recipe.input_size, Augmentation("none", "none"))
            places = ValidationPlaces(len(readable), ranks.rank, ranks.world)
            workers = min(self.workers, -(-len(places) // (self._batch_size * AHEAD)))  # more would have no batch
            self.validation = self._loader(
                fixed, workers, batch_size=self._batch_size, sampler=places, persistent_workers=workers > 0
            )

    @property
    def steps_an_epoch(self) -> int:
        """The number of optimizer steps."""
        return -(-len(self.training) // self._recipe.accumulate)

    def _choose_workers(self, training: DetectionDataset) -> int:
        workers = choose_workers(training, self._recipe, self._options, self._ranks, windows=self._windows)
        if workers or self._pinned:
            say(self._console, f"workers=auto is {workers} here, of {plural(usable_cores(), 'core')}")
        return workers

    def _loader(self, images: TrainingSet, workers: int, **order: Any) -> DataLoader[Any]:
        return DataLoader(
            images,
            collate_fn=CollateInWorker(self._recipe.input_size.multiple, self._options.compile),
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            pin_memory=self._pinned,
            worker_init_fn=start_worker,
            **order,
        )

    def _decode(self, dataset: DetectionDataset, reduction: Reduction | None) -> tuple[ImageCache, list[int]]:
        """Decode the images and list the readable ones; several processes on a machine share the work."""
        ranks, files = self._ranks, SHARED if self._ranks.on_machine > 1 and SHARED.is_dir() else None
        shared = self.workers > 0 or files is not None
        limit = max(free_memory(shared) - self._for_batches, 0) // 2 // (ranks.on_machine if files else 1)
        cache = ImageCache(dataset, limit, shared=shared, files=files, reduction=reduction)
        part = range(ranks.rank % ranks.on_machine, len(dataset), ranks.on_machine) if files else range(len(dataset))
        console, total, facts = self._console, len(dataset), dict[str, ImageFacts]()
        with bar(f"decoding {dataset.split or 'images'}", console) as advance:
            look = self._eye_on(dataset, reduction, facts)
            faults = cache.fill(lambda done: advance(done, total), look, part)
        if files:
            faults, facts = _put_together(cache, faults, facts, ranks, self._options.accelerator())
        self.facts.update(facts)
        self.unreadable.update({dataset.name(index): fault for index, fault in sorted(faults.items())})
        if faults:
            say(
                console,
                f"left out {plural(len(faults), 'image')} that can't be decoded, the first: {faults[min(faults)]}",
            )
        return cache, [index for index in range(len(dataset)) if index not in faults]

    def _eye_on(
        self, dataset: DetectionDataset, reduction: Reduction | None, seen: dict[str, ImageFacts]
    ) -> Callable[[int], Decoded] | None:
        """Return what decodes an image and keeps the facts; None if no check needs them."""
        if sum(map(len, self.datasets)) > CHECKED_IMAGES:
            return None

        def look(index: int) -> Decoded:
            facts, image = look_at(dataset.path(index), dataset.pixels, reduction)
            seen[dataset.paths[index]] = facts
            if image is None:
                raise DataError(f"{dataset.path(index)}: {facts.fault[1] if facts.fault else ''}")
            dataset.check_frame(index, facts.size)
            return image

        return look


def _put_together(
    cache: ImageCache, faults: dict[int, str], facts: dict[str, ImageFacts], ranks: Ranks, accelerator: str
) -> tuple[dict[int, str], dict[str, ImageFacts]]:
    """Merge what the machine's processes have decoded, with the faults and facts of all."""
    packed = cache.pack()
    try:
        parts = ranks.gather((packed, faults, facts), accelerator)
        for rank, (other, _, _) in enumerate(parts):
            if rank != ranks.rank % ranks.on_machine:
                cache.take_over(other)
        ranks.gather(None, accelerator)  # all have mapped all files
    finally:
        for path in packed.paths:  # mapped memory survives without its file name until no process maps it
            path.unlink()
    for _, other_faults, other_facts in parts:
        faults, facts = faults | other_faults, facts | other_facts
    return faults, facts


def augments_on_device(recipe: Recipe, options: RunOptions, ranks: Ranks) -> bool:
    """Tell whether inputs are resampled on the training's device: on a GPU with few cores."""
    if recipe.augment_on != "auto":
        return recipe.augment_on == "device"
    few = usable_cores() // ranks.on_machine <= _ENOUGH_CORES
    return options.accelerator() != "cpu" and few and recipe.augmentation.own is None


def repeats_of(recipe: Recipe, dataset: DetectionDataset, readable: list[int]) -> NDArray[np.float64] | None:
    """Return how often an epoch shows each readable image, (n,), by the recipe's sampling; None: once."""
    rule = resolve_choice("sampling", recipe.sampling)
    if rule is None:
        return None
    with naming_failures("sampling", recipe.sampling):
        repeats = np.asarray(rule(dataset), np.float64)
    if repeats.shape != (len(dataset),) or not (np.isfinite(repeats) & (repeats >= 1)).all():
        least = f", the least {repeats.min():g}" if repeats.size else ""
        raise RecipeError(
            f"Expected sampling={recipe.sampling} to return {len(dataset)} numbers of at least 1, one for each image, "
            f"but got {repeats.shape}{least}"
        )
    return repeats[readable]
