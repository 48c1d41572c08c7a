"""The frozen tier: neck and head are trained on features that were computed once.

It is an approximation: the backbone keeps its pretrained weights, so gains through a better backbone do not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from time import monotonic
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from boxwright._util.devices import seed_generators
from boxwright._util.writing import write_json
from boxwright.compare.run.features import Features
from boxwright.compare.run.jobs import Job
from boxwright.data import DetectionDataset
from boxwright.data.loading import Batch
from boxwright.data.sampling import EpochPlaces
from boxwright.environment import environment
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.models import DenseDetector, build_detector
from boxwright.recipes import Recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.training import RunOptions
from boxwright.training.averages import Averages
from boxwright.training.batches import repeats_of
from boxwright.training.late import Late
from boxwright.training.module import TrainingModule
from boxwright.training.record import describe_outcome, describe_run
from boxwright.training.schedule import Progress
from boxwright.training.starting import begin_with

_TIMED = 5  # steps


def check_freezable(recipe: Recipe) -> None:
    """Raise RecipeError unless neck and head can be trained on the features of the recipe's backbone."""
    if not recipe.pretrained:
        raise RecipeError("the frozen tier needs a pretrained backbone: pretrained=false has nothing to freeze")
    if recipe.norm_mode == "group":
        raise RecipeError("the frozen tier keeps the backbone's BatchNorm: norm_mode can't be group")
    if recipe.resize == "shortest":
        raise RecipeError("the frozen tier keeps maps of one size: resize can't be shortest")
    detector = build_detector(recipe, pretrained=False)
    if not isinstance(detector, DenseDetector) or not isinstance(getattr(detector.net, "backbone", None), nn.Module):
        raise RecipeError(f"the frozen tier is for dense detectors of a backbone and a head, {recipe.detector} is none")


def train_head(job: Job, dataset: DetectionDataset, initial: Mapping[str, Tensor], beat: Callable[[int], None]) -> Run:
    """Train neck and head on the job's features, and save the whole detector in the run folder.

    Optimizer, schedule, clipping and averaging are those of a training.

    Raises:
        BoxwrightError: If a loss becomes infinite or NaN.
    """
    assert job.features is not None
    device = RunOptions(device=job.device).accelerator()
    features, recipe = Features.open(job.features), job.recipe.replace(**dataset.pixels.to_dict())
    L.seed_everything(job.seed, verbose=False)
    detector = build_detector(recipe)
    begin_with(initial, detector)
    detector.to(device)
    backbone, detector.net.backbone = detector.net.backbone, nn.Identity()
    counts = torch.from_numpy(np.bincount(dataset.labels, minlength=len(recipe.classes)))
    progress = Progress(steps=job.steps)
    module = TrainingModule(detector, build_criterion(recipe, counts), progress, job.seed).to(device).train()
    averages = Averages(detector, recipe.ema)
    progress.start()
    _optimize(module, averages, features, _keys(job, dataset, features), beat)
    progress.pause()
    detector.load_state_dict(averages.module.state_dict())
    detector.net.backbone = backbone
    run = Run(job.folder)
    run.keep(detector.cpu())
    asked = describe_run(RunOptions(split=job.split, val_split=None, seed=job.seed), recipe, features.images, workers=0)
    training: dict[str, Any] = {**asked, "tier": "frozen", "views": features.views}
    training |= describe_outcome(job.steps, progress, recipe, device, "float32")
    content = {"data": {}, "training": training, "environment": environment()}
    write_json(run.data_file, content)
    return run


def time_frozen(recipe: Recipe, batch: Batch) -> tuple[float, float]:
    """Estimate the seconds of a step of neck and head on a batch, and of the features of an image."""
    detector, criterion = build_detector(recipe, pretrained=False).train(), build_criterion(recipe)
    start = monotonic()
    with torch.no_grad():
        maps = detector.net.backbone(detector.normalize(batch.images))  # type: ignore[operator]
    features = (monotonic() - start) / len(batch.images)
    detector.net.backbone = nn.Identity()
    taken = []
    for _ in range(_TIMED):
        start = monotonic()
        criterion(detector.anchors, detector(maps), batch.targets).total.backward()
        taken.append(monotonic() - start)
    return median(taken), features


def _optimize(
    module: TrainingModule,
    averages: Averages,
    features: Features,
    batches: Iterator[list[int]],
    beat: Callable[[int], None],
) -> None:
    """Train until the steps are done. Each loss is checked when the next one is available: the device never waits."""
    setup, recipe, progress = module.configure_optimizers(), module.recipe, module.progress
    fine: Late[int] = Late()
    optimizer, schedule = setup["optimizer"], setup["lr_scheduler"]["scheduler"]
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    step = 0
    while progress.done < 1:
        seed_generators(module.seeds[0] * 2**32 + step, module.device)  # dropout draws the same for all arms
        maps, targets = features.batch(next(batches), module.detector)
        losses = module.criterion(module.detector.anchors, module.detector(maps), targets)
        _check(fine)
        fine.send(losses.total.isfinite(), step)
        optimizer.zero_grad()
        losses.total.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(weights, recipe.clip)
        optimizer.step()
        averages.update_parameters(module.detector)
        step += 1
        progress.mark(step, progress.elapsed)
        schedule.step()
        beat(step)
    _check(fine)


def _check(fine: Late[int]) -> None:
    for finite, step in fine.read():
        if not finite:
            raise BoxwrightError(f"the loss is not finite any more after {step} steps")


def _keys(job: Job, dataset: DetectionDataset, features: Features) -> Iterator[list[int]]:
    """Yield batches of sampler keys in a training's order; one batch contains all that a step accumulates."""
    size = job.recipe.images_a_batch * job.recipe.accumulate
    repeats = repeats_of(job.recipe, dataset, features.readable)
    places = EpochPlaces(features.images, job.seed, batch_size=size, repeats=repeats)
    while True:
        keys = list(places)
        yield from (keys[start : start + size] for start in range(0, len(keys), size))
        places.set_epoch(places.epoch + 1)
