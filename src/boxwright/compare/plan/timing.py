"""How long the baseline takes: a few warm steps of it are trained before the comparison starts."""

from __future__ import annotations

import tempfile
from math import nan
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from boxwright.compare.plan.study import Setting
from boxwright.compare.run.features import VIEWS, cache_name
from boxwright.compare.run.frozen import time_frozen
from boxwright.compare.run.threads import using_threads
from boxwright.data import DetectionDataset
from boxwright.errors import RecipeError
from boxwright.training import RunOptions, train
from boxwright.training.batches import Batches

_WARM_UP, _TIMED = 2, 6  # steps


def timing_sample(setting: Setting) -> DetectionDataset:
    """Take images for a few steps, from all over the training split: a large one would take minutes to decode."""
    recipe, images = setting.baseline, len(setting.training)
    most = (_WARM_UP + _TIMED) * recipe.images_a_batch * recipe.accumulate
    return setting.training.subset(np.unique(np.linspace(0, images - 1, min(most, images)).round().astype(np.int64)))


class _StepTimes(Callback):
    """Notes when each optimiser step was done."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.times.setdefault(trainer.global_step, monotonic())


def seconds_per_step(setting: Setting, sample: DetectionDataset) -> float:
    """Time a few warm steps of the baseline: median; NaN where the runs' device isn't here and no minutes need it."""
    options, clock = setting.options, _StepTimes()
    try:
        RunOptions(device=options.device).accelerator()
    except RecipeError:
        if options.minutes is None:
            return nan
        raise
    with using_threads(options.threads), tempfile.TemporaryDirectory() as folder:
        train(
            sample,
            setting.baseline,
            steps=_WARM_UP + _TIMED,
            val_split=None,
            device=options.device,
            workers=options.workers,
            out=Path(folder) / "timing",
            console=Console(quiet=True),
            callbacks=[clock],
        )
    done = [clock.times[step] for step in sorted(clock.times) if step >= _WARM_UP]
    return median(np.diff(done).tolist())


def frozen_seconds(setting: Setting, batches: Batches) -> tuple[float, float]:
    """Time a step of neck and head, and all features."""
    head, backbone = time_frozen(setting.baseline, next(iter(batches.training)))
    caches = len({cache_name(recipe) for recipe in setting.recipes.values()})
    return head, caches * VIEWS * len(setting.training) * backbone
