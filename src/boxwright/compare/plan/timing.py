"""Measure how long the baseline takes, by training a few warm steps before the comparison starts."""

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
    """Choose images for a few steps from all over the training split: decoding a large one would take minutes."""
    recipe, images = setting.baseline, len(setting.training)
    most = (_WARM_UP + _TIMED) * recipe.images_a_batch * recipe.accumulate
    return setting.training.subset(np.unique(np.linspace(0, images - 1, min(most, images)).round().astype(np.int64)))


class _StepTimes(Callback):
    """Records when each optimizer step was done."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.times.setdefault(trainer.global_step, monotonic())


def seconds_per_step(setting: Setting, sample: DetectionDataset) -> float:
    """Measure the median time of a few warm steps of the baseline.

    NaN if the runs' device is not available here and no ``minutes`` need it.
    """
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
    """Measure the time of a step of neck and head, and of all features."""
    head, backbone = time_frozen(setting.baseline, next(iter(batches.training)))
    caches = len({cache_name(recipe) for recipe in setting.recipes.values()})
    return head, caches * VIEWS * len(setting.training) * backbone
