"""How a run goes on from its last checkpoint: with its own recipe and options, on the data that it began with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from boxwright.data import DetectionDataset
from boxwright.errors import DataError, RecipeError
from boxwright.recipes import Recipe, get_recipe
from boxwright.runs import Run
from boxwright.training.checkpoints import Position, read_position
from boxwright.training.options import FREE_ON_RESUME, RunOptions
from boxwright.training.record import fingerprint


def reopen(run: Run, options: dict[str, Any]) -> tuple[Recipe, RunOptions, Position]:
    """A run's recipe and options, with ``options`` on top as far as they may change, and where it stands.

    Raises RecipeError for a folder without checkpoint, and for an option that can't change on the way.
    """
    for needed in (run.recipe_file, run.data_file, run.last_checkpoint):
        if not needed.is_file():
            raise RecipeError(f"can't resume {run.folder}: it has no {needed.name}")
    recipe = get_recipe(run.recipe_file)
    stored = RunOptions(**_origin(run)["options"])
    own = {"epochs": recipe.epochs, **vars(stored)}
    for name, value in options.items():
        if name not in ("epochs", *FREE_ON_RESUME) and own.get(name, recipe.to_dict().get(name)) != value:
            raise RecipeError(
                f"{name} can't change when a run is resumed: only epochs, {', '.join(FREE_ON_RESUME)} can"
            )
    if "epochs" in options and stored.minutes is not None:
        raise RecipeError(f"{run.folder} was started with minutes: give it more of them instead of epochs")
    if "epochs" in options and stored.steps is not None:
        raise RecipeError(f"{run.folder} was started with a number of steps: epochs can't change it")
    if "minutes" in options and stored.minutes is None:
        raise RecipeError(f"{run.folder} was started with epochs: give it more of them instead of minutes")
    recipe = recipe.replace(epochs=options.get("epochs", recipe.epochs))
    changed = {name: value for name, value in options.items() if name in FREE_ON_RESUME}
    return recipe, replace(stored, **changed, out=run.folder), read_position(run.last_checkpoint)


def check_same_data(run: Run, datasets: Sequence[DetectionDataset]) -> None:
    """Raise DataError where the images, boxes or classes are not those that the run began with."""
    if _origin(run)["fingerprint"] != fingerprint(datasets):
        raise DataError(f"{datasets[0].root} has changed since {run.folder} began: start a new run on it")


def recorded_data(run: Run) -> dict[str, Any]:
    """What ``describe_data`` said of the data when the run began."""
    data: dict[str, Any] = _record(run)["data"]
    return data


def recorded_commands(run: Run) -> tuple[str, ...]:
    """The commands that led to the run as it is."""
    return tuple(_origin(run).get("commands", ()))


def _origin(run: Run) -> dict[str, Any]:
    origin: dict[str, Any] = _record(run)["origin"]
    return origin


def _record(run: Run) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(Path(run.data_file).read_text(encoding="utf-8"))
        record["data"], record["origin"]["options"], record["origin"]["fingerprint"]
    except (ValueError, KeyError, TypeError):
        raise RecipeError(f"can't resume {run.folder}: {run.data_file.name} doesn't say how it was started") from None
    return record
