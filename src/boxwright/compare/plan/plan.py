"""The plan of a comparison, made once and kept: for how many steps each arm trains, and with which box weight."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Annotated, Any, TypedDict

import lightning as L
import msgspec
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.ownership import GENERATOR
from boxwright._util.writing import write_json
from boxwright.compare.plan.equal_weights import box_gradients, equal_weights
from boxwright.compare.plan.study import Setting
from boxwright.compare.run.features import VIEWS, cache_name
from boxwright.compare.run.frozen import time_frozen
from boxwright.compare.run.jobs import Job
from boxwright.compare.run.threads import using_threads
from boxwright.criterion import DenseCriterion
from boxwright.data import DetectionDataset
from boxwright.data.readers.reader import finding
from boxwright.data.sampling import EpochPlaces
from boxwright.errors import RecipeError
from boxwright.models import DenseDetector, build_detector
from boxwright.recipes import Recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.training import RunOptions, train
from boxwright.training.batches import Batches, repeats_of
from boxwright.training.distributed import Ranks

_WARM_UP, _TIMED = 2, 6  # steps


@dataclass(frozen=True)
class Plan:
    """What was measured before the first run."""

    steps: Annotated[int, msgspec.Meta(ge=1)]
    """Of every run."""
    seconds_per_step: float
    """Of the baseline in full training, on this machine; NaN where it can't be timed here."""
    box_weights: dict[str, float]
    """By arm, of the arms whose weight was set."""
    weights_by: str
    """How the box weights came about, in a sentence."""
    seconds_per_head_step: float | None = None
    """Of the baseline in the frozen tier."""
    seconds_of_features: float = 0.0
    """Of computing the frozen tier's features, of all arms together."""

    def recipe_of(self, setting: Setting, arm: str) -> Recipe:
        """What an arm trains with."""
        weight = self.box_weights.get(arm)
        recipe = setting.recipes[arm]
        return recipe if weight is None else recipe.replace(box_weight=weight)


def make_plan(setting: Setting) -> Plan:
    """The folder's plan, or a new one. Raises RecipeError where the folder holds another comparison or damaged plan."""
    file, request = setting.folder / "plan.json", json.loads(json.dumps(setting.request()))
    if file.exists():
        return _kept_plan(file, request)
    sample = _sample(setting)
    batches = Batches(sample, None, setting.baseline, RunOptions(workers=0), Ranks(), Console(quiet=True))
    weights, by = _box_weights(setting, batches)
    seconds = _seconds_per_step(setting, sample)
    steps = setting.options.steps or setting.baseline.epochs * _steps_an_epoch(setting)
    if setting.options.minutes is not None:
        steps = max(1, round(60 * setting.options.minutes / seconds))
    head, features = _frozen_seconds(setting, batches) if setting.options.tier == "frozen" else (None, 0.0)
    plan = Plan(steps, seconds, weights, by, head, features)
    write_json(file, {"generator": GENERATOR, "plan": asdict(plan), "request": request})
    return plan


class _Kept(TypedDict):
    plan: Plan
    request: dict[str, Any]


def _kept_plan(file: Path, request: dict[str, Any]) -> Plan:
    cure = ": name another folder with --out"
    kept = typed(read_own_json(file, cure), _Kept, file, cure)
    changed = [key for key, value in request.items() if kept["request"].get(key) != value]
    if changed:
        raise RecipeError(f"{file.parent} holds a comparison with other {' and '.join(changed)}{cure}")
    return kept["plan"]


def _sample(setting: Setting) -> DetectionDataset:
    """Images for a few steps, from all over the training split: a large one would take minutes to decode."""
    recipe, images = setting.baseline, len(setting.training)
    most = (_WARM_UP + _TIMED) * recipe.images_a_batch * recipe.accumulate
    return setting.training.subset(np.unique(np.linspace(0, images - 1, min(most, images)).round().astype(np.int64)))


def _steps_an_epoch(setting: Setting) -> int:
    """Of the baseline, as far as all images can be read."""
    recipe, images = setting.baseline, setting.training
    repeats = repeats_of(recipe, images, list(range(len(images))))
    places = EpochPlaces(len(images), 0, batch_size=recipe.images_a_batch, repeats=repeats)
    return -(-len(places) // (recipe.images_a_batch * recipe.accumulate))


def _box_weights(setting: Setting, batches: Batches) -> tuple[dict[str, float], str]:
    """The weights of the arms whose box loss isn't the baseline's, and how they came about."""
    baseline = setting.baseline
    losses = {name: recipe.box_loss for name, recipe in setting.recipes.items() if recipe.box_loss != baseline.box_loss}
    if not losses:
        return {}, "The box loss is the same in all arms, and its weight is the recipe's."
    if setting.options.box_weights == "fixed" or setting.weight_given:
        return {}, "Box weights are fixed by the user."
    counts = torch.from_numpy(np.bincount(setting.training.labels, minlength=len(setting.training.classes)))
    L.seed_everything(0, verbose=False)
    detector, first = build_detector(baseline), build_criterion(baseline, counts)
    if not isinstance(detector, DenseDetector) or not isinstance(first, DenseCriterion):
        return {}, f"Box weights are the recipe's: {baseline.detector} has more than one box loss to equalise."
    criteria = {baseline.box_loss: first}
    for loss in losses.values():
        try:
            other = build_criterion(baseline.replace(box_loss=loss, box_weight=first.box_weight), counts)
        except RecipeError:
            continue  # with the baseline's coder there is no such loss
        if isinstance(other, DenseCriterion):
            criteria[loss] = other
    gradients = box_gradients(detector, criteria, batches.training)
    weights = equal_weights(gradients, baseline.box_loss, first.box_weight)
    left = sorted(set(losses.values()) - weights.keys())
    by = "Box weights are equalised: each box loss's gradient has the norm of the baseline's at the start."
    if left:
        by += (
            f" Not so {' and '.join(left)}: not comparable with the baseline's gradient, their weight is the recipe's."
        )
    return {name: weights[loss] for name, loss in losses.items() if loss in weights}, by


class _StepTimes(Callback):
    """When each optimiser step was done."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.times.setdefault(trainer.global_step, monotonic())


def _seconds_per_step(setting: Setting, sample: DetectionDataset) -> float:
    """Median over a few warm steps of the baseline; NaN where the runs' device isn't here and no minutes need it."""
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


def _frozen_seconds(setting: Setting, batches: Batches) -> tuple[float, float]:
    """Of a step of neck and head, and of all features."""
    head, backbone = time_frozen(setting.baseline, next(iter(batches.training)))
    caches = len({cache_name(recipe) for recipe in setting.recipes.values()})
    return head, caches * VIEWS * len(setting.training) * backbone


def jobs_of(setting: Setting, plan: Plan) -> list[Job]:
    """All runs, seed by seed, so that a comparison that was stopped has compared something."""
    options = setting.options
    device = options.device
    if device == "auto":
        device = RunOptions().accelerator()
    return [
        Job(
            arm=arm.name,
            seed=seed,
            recipe=plan.recipe_of(setting, arm.name),
            baseline=setting.baseline,
            steps=plan.steps,
            folder=setting.run_folder(arm, seed),
            data=setting.data,
            split=options.split,
            val_split=options.val_split,
            **finding(options),
            device=device,
            workers=options.workers,
            threads=options.threads or torch.get_num_threads(),
            code=setting.code,
            features=setting.features_folder(arm) if options.tier == "frozen" else None,
        )
        for seed in range(options.seeds)
        for arm in setting.arms
    ]
