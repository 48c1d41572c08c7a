"""Train a detector: read, build, fit, keep."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from rich.progress import Progress as ProgressBar
from safetensors.torch import save
from torch.utils.data import DataLoader, Sampler

from boxwright.data import DetectionDataset, available_splits, read_dataset
from boxwright.data.loading import ImageCache, TrainingSet, collate
from boxwright.data.transforms import Augmentation
from boxwright.errors import DataError
from boxwright.models import build_criterion, build_detector
from boxwright.recipes import Recipe, get_recipe
from boxwright.runs import Run
from boxwright.training.allocator import keep_large_blocks
from boxwright.training.callbacks import AveragedWeights, Clock, EpochLines, ProgressLine, Validation
from boxwright.training.module import TrainingModule
from boxwright.training.options import RunOptions
from boxwright.training.record import Record, describe_data, describe_outcome, describe_run
from boxwright.training.schedule import Progress


def train(
    data: str | Path | DetectionDataset,
    recipe: str | Path | Recipe = "lite320",
    *,
    validation: DetectionDataset | None = None,
    console: Console | None = None,
    **options: Any,
) -> Run:
    """Train a detector and keep it in a run folder.

    ``data``: a folder that ``read_dataset`` understands, or a data set (then ``validation`` may be another).
    ``recipe``: a built-in name, a YAML file, or a Recipe. ``options``: fields of ``RunOptions`` and keys of the recipe.
    Raises DataError and RecipeError before anything is written.
    """
    console = console or Console()
    run_options, recipe_options = RunOptions.take(options)
    chosen = recipe.replace(**recipe_options) if isinstance(recipe, Recipe) else get_recipe(recipe, **recipe_options)
    accelerator = run_options.accelerator()
    keep_large_blocks()
    training_set, validation_set = _read(data, validation, chosen, run_options, console)
    chosen = chosen.replace(classes=training_set.classes)
    run = Run(run_options.folder(training_set.root.resolve().name, chosen.detector))
    L.seed_everything(run_options.seed, verbose=False)
    detector, criterion = build_detector(chosen), build_criterion(chosen)
    batches = _Batches(training_set, validation_set, chosen, run_options, console)
    source = None if isinstance(data, DetectionDataset) else Path(data)
    record = Record(
        data=describe_data(batches.datasets, chosen, source, console),
        training=describe_run(run_options, chosen, batches.images),
        unreadable=batches.unreadable,
    )
    run.folder.mkdir(parents=True, exist_ok=True)
    chosen.save(run.recipe_file)
    record.write(run.data_file)

    progress = _progress(chosen, run_options, len(batches.training))
    module = TrainingModule(detector, criterion, progress)
    with _quiet():
        trainer = _trainer(run, batches, progress, chosen, accelerator, console)
        trainer.fit(module, batches.training, batches.validation)
    record.training.update(describe_outcome(trainer.global_step, progress, chosen, accelerator))
    record.write(run.data_file)
    _keep_model(run, module, best=(run.folder / "best.ckpt") if batches.validation else None)
    console.print(f"the model is in {run.model_file}", highlight=False, soft_wrap=True)
    return run


def _read(
    data: str | Path | DetectionDataset,
    validation: DetectionDataset | None,
    recipe: Recipe,
    options: RunOptions,
    console: Console,
) -> tuple[DetectionDataset, DetectionDataset | None]:
    if isinstance(data, DetectionDataset):
        training = data
    else:
        classes = recipe.classes or None
        training = read_dataset(
            data, options.split, classes=classes, negatives=recipe.negatives, voc_one_based=recipe.voc_one_based
        )
        splits = available_splits(data)
        if options.val_split is not None and options.val_split not in splits and options.val_split == "val":
            console.print(f"no val split in {data}: the last weights will be the model", highlight=False)
        elif options.val_split is not None:
            validation = read_dataset(
                data, options.val_split, classes=training.classes, voc_one_based=recipe.voc_one_based
            )
    if validation is not None and len(validation) == 0:
        console.print("no image to validate on: the last weights will be the model", highlight=False)
        validation = None
    if len(training) == 0:
        raise DataError(f"{training.root}: no image to train on in split {training.split!r}")
    for dataset in filter(None, (training, validation)):
        if not dataset.has_images:
            raise DataError(f"{dataset.root}: there is none of the images that split {dataset.split!r} names")
        console.print(_describe(dataset), highlight=False, soft_wrap=True)
    return training, validation


def _describe(dataset: DetectionDataset) -> str:
    left_out = dataset.left_out.summary()
    empty = int((np.diff(dataset.offsets) == 0).sum())
    names = ", ".join([*dataset.classes[:8], *(["..."] if len(dataset.classes) > 8 else [])])
    return (
        f"{dataset.split or 'data'}: {len(dataset)} images ({empty} without objects), {len(dataset.boxes)} boxes, "
        f"{len(dataset.classes)} classes ({names})" + (f"; {left_out}" if left_out else "")
    )


class ShuffledPlaces(Sampler[int]):
    """A new order each epoch, from the seed and the epoch's number; each place also tells the epoch."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        yield from (self.epoch * self.length + order).tolist()


class _Batches:
    """The loaders of a run, over images that were decoded once."""

    def __init__(
        self,
        training: DetectionDataset,
        validation: DetectionDataset | None,
        recipe: Recipe,
        options: RunOptions,
        console: Console,
    ) -> None:
        self.unreadable: dict[str, str] = {}
        self.datasets = [training] if validation is None else [training, validation]
        augmentation = Augmentation(recipe.augment, recipe.flip, recipe.resize)
        cache, readable = self._decode(training, console)
        if not readable:
            raise DataError(f"{training.root}: none of the {len(training)} training images can be decoded")
        self.images = len(readable)
        training_set = TrainingSet(cache, readable, recipe.image_size, augmentation, options.seed)
        self.training: DataLoader[Any] = DataLoader(
            training_set,
            batch_size=recipe.batch_size,
            sampler=ShuffledPlaces(len(readable), options.seed),
            drop_last=len(readable) > recipe.batch_size,
            **_loading(options),
        )
        self.validation: DataLoader[Any] | None = None
        if validation is not None:
            cache, readable = self._decode(validation, console)
            fixed = TrainingSet(cache, readable, recipe.image_size, Augmentation("none", "none", recipe.resize))
            self.validation = DataLoader(fixed, batch_size=recipe.batch_size, **_loading(options))

    def _decode(self, dataset: DetectionDataset, console: Console) -> tuple[ImageCache, list[int]]:
        cache = ImageCache(dataset)
        with ProgressBar(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"decoding {dataset.split or 'images'}", total=len(dataset))
            faults = cache.fill(lambda done: bar.update(task, completed=done))
        self.unreadable.update({dataset.name(index): fault for index, fault in faults.items()})
        if faults:
            first = next(iter(faults.values()))
            console.print(f"left out {len(faults)} images that can't be decoded, the first: {first}", soft_wrap=True)
        return cache, [index for index in range(len(dataset)) if index not in faults]


def _loading(options: RunOptions) -> dict[str, Any]:
    return {"num_workers": options.workers, "collate_fn": collate, "persistent_workers": options.workers > 0}


def _progress(recipe: Recipe, options: RunOptions, batches: int) -> Progress:
    if options.minutes is not None:
        return Progress(minutes=options.minutes)
    return Progress(steps=recipe.epochs * batches)


def _trainer(
    run: Run, batches: _Batches, progress: Progress, recipe: Recipe, accelerator: str, console: Console
) -> L.Trainer:
    callbacks: list[Callback] = [Clock(progress)]
    if recipe.ema:
        callbacks.append(AveragedWeights(recipe.ema))
    keep: dict[str, Any] = {"dirpath": run.folder, "enable_version_counter": False}
    if batches.validation is not None:
        callbacks.append(Validation(batches.datasets[1]))
        callbacks.append(ModelCheckpoint(filename="best", monitor="AP", mode="max", **keep))
    callbacks.append(ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **keep))
    callbacks.append(EpochLines(console, progress))
    if console.is_terminal:
        callbacks.append(ProgressLine())
    return L.Trainer(
        accelerator="gpu" if accelerator == "cuda" else "cpu",
        devices=1,
        max_epochs=-1,
        max_steps=progress.steps or -1,
        callbacks=callbacks,
        logger=CSVLogger(run.folder, name="", version=""),
        log_every_n_steps=10,
        gradient_clip_val=recipe.clip,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=console.is_terminal,
        default_root_dir=run.folder,
    )


def _keep_model(run: Run, module: TrainingModule, best: Path | None) -> None:
    """Write model.safetensors: the best checkpoint's averaged weights, or the last ones."""
    if best is not None and best.exists():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)
    weights = {name: value.contiguous() for name, value in module.detector.state_dict().items()}
    # Not save_file, whose file only its owner may read
    run.model_file.write_bytes(save(weights, metadata={"classes": json.dumps(module.recipe.classes)}))


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's banners, hints and warnings off: they speak of choices that are made here."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        logger.setLevel(level)
