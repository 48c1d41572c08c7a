"""Where converted weights are kept: a folder for each start in the user's cache."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from boxwright._util.remembered import cache_folder
from boxwright.errors import MissingWeights, RecipeError
from boxwright.starts.known import find_known

WEIGHTS = "model.safetensors"


def start_folder(name: str) -> Path:
    """The folder where the start of this name is kept, fetched or not: a run folder where it is a whole detector.

    Raises RecipeError where there is no home to have a cache in.
    """
    try:
        return cache_folder() / "starts" / name
    except RuntimeError:
        raise RecipeError("there is no home folder to keep weights in: name one with BOXWRIGHT_CACHE") from None


def is_fetched(name: str) -> bool:
    """Whether the weights of a start are in the cache."""
    with suppress(RecipeError):
        return (start_folder(name) / WEIGHTS).is_file()
    return False


def kept_weights(name: str) -> Path:
    """The file of a start's weights. Raises MissingWeights, which says what to type, where they aren't fetched."""
    if not is_fetched(name):
        raise MissingWeights(f"the weights {name} are not here yet: boxwright start fetch {name} gets them")
    return start_folder(name) / WEIGHTS


def detector_folder(name: str) -> Path:
    """The run folder of a start. Raises MissingWeights where it isn't fetched, RecipeError for a backbone's weights."""
    if find_known(name).recipe is None:
        raise RecipeError(f"{name} is a backbone and finds nothing by itself: train with --set backbone={name}")
    return kept_weights(name).parent


def is_start(folder: Path) -> bool:
    """Whether a folder is one of the cache's."""
    return folder == start_folder(folder.name)
