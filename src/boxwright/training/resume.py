"""Continue a run from a checkpoint: with its own recipe and options, on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from boxwright.data import DetectionDataset
from boxwright.errors import DataError, RecipeError
from boxwright.recipes import Recipe, get_recipe
from boxwright.runs import Run
from boxwright.training.checkpoints import Position, read_position
from boxwright.training.command import resume_command
from boxwright.training.options import FREE_ON_RESUME, RunOptions, as_meant
from boxwright.training.record import fingerprint

_LENGTHS = {"epochs": "epochs", "minutes": "minutes", "steps": "a number of steps"}


class Reopened(NamedTuple):
    """A run that is to be continued."""

    recipe: Recipe
    options: RunOptions
    checkpoint: Path | None
    """None: the run was stopped before its first checkpoint, and starts anew."""
    position: Position


def reopen(run_or_checkpoint: Path, data: Path, options: Mapping[str, Any]) -> Reopened:
    """Read a run's recipe and options, with ``options`` on top where they may change, and where it stands.

    Raises:
        RecipeError: For a folder that is no run, or damaged, and for an option that cannot change.
    """
    run = Run.of(run_or_checkpoint)
    recipe, stored = get_recipe(run.recipe_file), _recorded_options(run)
    _check_options(run, recipe, stored, options)
    checkpoint = _checkpoint(run, run_or_checkpoint)
    recipe = recipe.replace(epochs=options.get("epochs", recipe.epochs))
    changed = {name: value for name, value in options.items() if name in FREE_ON_RESUME and value is not None}
    position = Position(0, 0, 0) if checkpoint is None else _position(run, checkpoint, data, options)
    return Reopened(recipe, replace(stored, **changed, out=run.folder), checkpoint, position)


def _check_options(run: Run, recipe: Recipe, stored: RunOptions, options: Mapping[str, Any]) -> None:
    own = {"epochs": recipe.epochs, **vars(stored)}
    for name, value in as_meant(options).items():
        if name not in ("epochs", *FREE_ON_RESUME) and own.get(name, recipe.to_dict().get(name)) != value:
            raise RecipeError(
                f"{name} can't change when a run is resumed: only epochs, {', '.join(FREE_ON_RESUME)} can"
            )
    length = next((name for name in ("minutes", "steps") if own[name] is not None), "epochs")
    for name in _LENGTHS.keys() - {length}:
        if options.get(name) is not None:
            raise RecipeError(
                f"{run.folder} was started with {_LENGTHS[length]}: give it more of them instead of {name}"
            )


def _checkpoint(run: Run, asked: Path) -> Path | None:
    """Find the requested checkpoint; or the last one, or the best if the run was stopped before that."""
    if not asked.is_dir():
        return asked
    found = [path for path in (run.last_checkpoint, run.best_checkpoint) if path.exists()]
    if not found and run.model_file.exists():
        raise RecipeError(f"can't resume {run.folder}: it has a model and no {run.last_checkpoint.name}")
    return found[0] if found else None


def _position(run: Run, checkpoint: Path, data: Path, options: Mapping[str, Any]) -> Position:
    try:
        return read_position(checkpoint)
    except RecipeError as error:
        raise RecipeError(f"{error}; {_way_out(run, data, options)}") from None


def _way_out(run: Run, data: Path, options: Mapping[str, Any]) -> str:
    """Say what to do about a checkpoint that cannot be read."""
    for path, where in ((run.best_checkpoint, "from the best epoch"), (run.last_checkpoint, "where the run stopped")):
        if _is_whole(path):
            command = resume_command(data, path, run.recipe, options)
            return f"{path.name} is whole, and goes on {where}: {command}"
    if run.model_file.exists():
        return "there is no whole one left: start a new run, the model of this one stays"
    damaged = [path.name for path in (run.last_checkpoint, run.best_checkpoint) if path.exists()]
    return f"there is no whole one left: remove {' and '.join(damaged)}, and the same command begins anew"


def _is_whole(checkpoint: Path) -> bool:
    try:
        read_position(checkpoint)
    except RecipeError:
        return False
    return True


def check_same_data(run: Run, datasets: Sequence[DetectionDataset]) -> None:
    """Raise DataError if the images, boxes or classes are not those that the run started with."""
    if run.record["origin"]["fingerprint"] != fingerprint(datasets):
        raise DataError(f"{datasets[0].root} has changed since {run.folder} began: start a new run on it")


def recorded_commands(run: Run) -> tuple[str, ...]:
    """Return the commands that led to the run's present state."""
    return tuple(run.record["origin"].get("commands", ()))


def _recorded_options(run: Run) -> RunOptions:
    origin = run.record["origin"]
    if not {"options", "fingerprint"} <= origin.keys():
        raise RecipeError(f"can't resume {run.folder}: {run.data_file.name} doesn't say how it was started")
    return RunOptions.recorded(origin["options"], run.data_file)
