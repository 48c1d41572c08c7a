"""The sources of initial weights: an earlier run, a file of weights, or a detector by name in the user's cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boxwright.errors import RecipeError
from boxwright.runs.hub import fetch_snapshot, hub_address
from boxwright.runs.origins import weights_metadata
from boxwright.runs.run import Run, read_model
from boxwright.starts.cache import is_fetched, kept_weights
from boxwright.starts.known import KNOWN
from boxwright.text import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from boxwright.recipes import Recipe

_MODEL = "model.safetensors"

DEFAULT_START = "nano416"
"""Start of trainings that name neither a recipe nor a start; lite320 if it hasn't been fetched."""


@dataclass(frozen=True)
class Start:
    """Weights that a training starts with, and what is known about them."""

    name: str
    """As it was given."""
    weights: Mapping[str, Tensor]
    """Weights by their names in the detector, or in its backbone, with any prefix."""
    classes: tuple[str, ...] = ()
    """In label order; empty where they aren't known."""
    recipe: Recipe | None = None
    """Recipe that trains such a detector, without its classes and the reading of its data; None if it isn't known."""
    origin: str = ""
    """Origin of the weights."""
    license: str = ""

    @property
    def described(self) -> str:
        """Return the name, with origin and license if known."""
        known = [f"from {self.origin}" if self.origin else "", f"license {self.license}" if self.license else ""]
        return ", ".join([self.name, *filter(None, known)])


def default_start() -> str | None:
    """Return the start of a training that names neither recipe nor start; None where it hasn't been fetched."""
    return DEFAULT_START if is_fetched(DEFAULT_START) else None


def resolve_start(start: str | Path) -> Start:
    """Read what a training starts from.

    ``start``: a run folder, a model.safetensors or .ckpt of one, another file of tensors by name (.safetensors, or what
    torch.save writes, which is never unpickled blindly), a run on the Hugging Face Hub as hf://user/name[@revision], or
    a name of ``boxwright start list``.

    Raises RecipeError for what is none of these, or damaged; MissingWeights for a start that isn't fetched.
    """
    run, file = _located(str(start))
    return _of_file(file, str(start)) if run is None else _of_run(run, file, str(start))


def start_recipe(start: str | Path) -> Recipe | None:
    """Return the recipe of a start, see ``Start.recipe``, without reading its tensors. Raises RecipeError."""
    run, _ = _located(str(start))
    return None if run is None else _fresh(run.recipe)


def _located(start: str) -> tuple[Run | None, Path]:
    """Find the run and the file of weights in it, or None and another file of weights."""
    address = hub_address(start)
    path = Path(start) if address is None else fetch_snapshot(address)
    if path.is_dir():
        return Run(path), _weights_file(Run(path))
    if not path.exists():
        if start not in KNOWN:
            raise RecipeError(
                f"no run, file or start {start!r}{did_you_mean(start, KNOWN)}: give a run folder, its {_MODEL}, or "
                "weights by name as .safetensors, .pt or .pth"
            )
        path = kept_weights(start)
    run = Run(path.parent)
    own = (path.name == _MODEL or path.suffix == ".ckpt") and run.recipe_file.is_file()
    return (run if own else None), path


def _of_run(run: Run, file: Path, name: str) -> Start:
    recipe = run.recipe
    known = weights_metadata(run.model_file) if run.model_file.is_file() else {}
    weights, _ = read_model(run, file)
    return Start(name, weights, recipe.classes, _fresh(recipe), known.get("origin", ""), known.get("license", ""))


def _weights_file(run: Run) -> Path:
    """Find the model of a run, or the checkpoint of one not ended; raises RecipeError if there is neither."""
    if not run.recipe_file.is_file():
        raise RecipeError(f"{run.folder} is no run folder: it has no {run.recipe_file.name}")
    for path in (run.model_file, run.best_checkpoint, run.last_checkpoint):
        if path.is_file():
            return path
    raise RecipeError(f"can't start from {run.folder}: it has no {run.model_file.name} yet")


def _of_file(path: Path, name: str) -> Start:
    from boxwright.runs.foreign import read_foreign, state_dicts
    from boxwright.runs.weights import read_weights

    if path.suffix == ".safetensors":
        known = weights_metadata(path)
        classes, weights = _classes_of(known, path), read_weights(path)
        return Start(name, weights, classes, origin=known.get("origin", ""), license=known.get("license", ""))
    states = list(state_dicts(read_foreign(path)))
    if not states:
        raise RecipeError(f"{path} holds no weights: Expected tensors by name")
    return Start(name, max(states, key=len))  # of equal ones the first, which are averaged


def _classes_of(known: Mapping[str, str], path: Path) -> tuple[str, ...]:
    try:
        classes = json.loads(known.get("classes", "[]"))
    except ValueError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise RecipeError(f"{path} is damaged: its classes are no list of names")
    return tuple(classes)


def _fresh(recipe: Recipe) -> Recipe:
    """Return the recipe for other data: without what the original data decided."""
    return recipe.replace(classes=(), reader="auto", voc_one_based=None, exif=None, depth_range="data")
