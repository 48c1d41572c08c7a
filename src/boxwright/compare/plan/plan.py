"""The plan of a comparison, made once and kept: how many steps each arm trains, and with which box weight."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import torch
from rich.console import Console

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.ownership import GENERATOR
from boxwright._util.writing import write_json
from boxwright.compare.plan.equal_weights import weigh_box_losses
from boxwright.compare.plan.study import Setting
from boxwright.compare.plan.timing import frozen_seconds, seconds_per_step, timing_sample
from boxwright.compare.run.jobs import Job
from boxwright.data.readers.reader import finding
from boxwright.data.sampling import EpochPlaces
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe
from boxwright.training import RunOptions
from boxwright.training.batches import Batches, repeats_of
from boxwright.training.distributed import Ranks


@dataclass(frozen=True)
class Plan:
    """Measurements made before the first run."""

    steps: Annotated[int, msgspec.Meta(ge=1)]
    """Steps of every run."""
    seconds_per_step: float
    """Time of the baseline in full training, on this machine; NaN if it cannot be measured here."""
    box_weights: dict[str, float]
    """Box weight by arm, for the arms whose weight was set."""
    weights_by: str
    """Method that gave the box weights, in a sentence."""
    seconds_per_head_step: float | None = None
    """Time of the baseline in the frozen tier."""
    seconds_of_features: float = 0.0
    """Time for computing the frozen tier's features, of all arms together."""

    def recipe_of(self, setting: Setting, arm: str) -> Recipe:
        """Return the recipe that an arm trains with."""
        weight = self.box_weights.get(arm)
        recipe = setting.recipes[arm]
        return recipe if weight is None else recipe.replace(box_weight=weight)


def make_plan(setting: Setting) -> Plan:
    """Read the folder's plan or make one; raises RecipeError if it belongs to another comparison or is damaged."""
    file, request = setting.folder / "plan.json", json.loads(json.dumps(setting.request()))
    if file.exists():
        return _kept_plan(file, request)
    sample = timing_sample(setting)
    batches = Batches(sample, None, setting.baseline, RunOptions(workers=0), Ranks(), Console(quiet=True))
    weights, by = weigh_box_losses(setting, batches)
    seconds = seconds_per_step(setting, sample)
    steps = setting.options.steps or setting.baseline.epochs * _steps_an_epoch(setting)
    if setting.options.minutes is not None:
        steps = max(1, round(60 * setting.options.minutes / seconds))
    head, features = frozen_seconds(setting, batches) if setting.options.tier == "frozen" else (None, 0.0)
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


def _steps_an_epoch(setting: Setting) -> int:
    """Count the baseline's steps per epoch, as if all images were readable."""
    recipe, images = setting.baseline, setting.training
    repeats = repeats_of(recipe, images, list(range(len(images))))
    places = EpochPlaces(len(images), 0, batch_size=recipe.images_a_batch, repeats=repeats)
    return -(-len(places) // (recipe.images_a_batch * recipe.accumulate))


def jobs_of(setting: Setting, plan: Plan) -> list[Job]:
    """List all runs, seed by seed, so that a comparison that is stopped early can still compare something."""
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
            start=arm.start,
            features=setting.features_folder(arm) if options.tier == "frozen" else None,
        )
        for seed in range(options.seeds)
        for arm in setting.arms
    ]
