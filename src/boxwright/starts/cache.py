"""Converted weights in the user's cache: one folder for each start."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from boxwright._util.remembered import cache_folder
from boxwright._util.writing import write_text
from boxwright.errors import MissingWeights, RecipeError
from boxwright.starts.known import find_known

WEIGHTS = "model.safetensors"
_DIGEST = "sha256sum.txt"


def start_folder(name: str) -> Path:
    """Return the folder of a start, fetched or not: a run folder if it is a whole detector."""
    try:
        return cache_folder() / "starts" / name
    except RuntimeError:
        raise RecipeError("there is no home folder to keep weights in: name one with BOXWRIGHT_CACHE") from None


def is_fetched(name: str) -> bool:
    """Tell whether the weights of a start are in the cache."""
    with suppress(RecipeError):
        return all((start_folder(name) / file).is_file() for file in (WEIGHTS, _DIGEST))
    return False


def seal(name: str) -> None:
    """Record the hash of a start's weights, which marks it as fetched; raises WriteError."""
    folder = start_folder(name)
    write_text(folder / _DIGEST, f"{sha256_of(folder / WEIGHTS)}  {WEIGHTS}\n")


def kept_weights(name: str) -> Path:
    """Return the file of a start's weights."""
    if not is_fetched(name):
        raise MissingWeights(f"the weights {name} are not here yet: boxwright start fetch {name} gets them")
    path = start_folder(name) / WEIGHTS
    if (path.with_name(_DIGEST)).read_text(encoding="utf-8", errors="replace").split()[:1] != [sha256_of(path)]:
        raise RecipeError(f"{path} is damaged (SHA-256): boxwright start fetch {name} makes it anew")
    return path


def sha256_of(path: Path) -> str:
    """Compute a file's SHA-256 in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def detector_folder(name: str) -> Path:
    """Return a start's run folder; raises MissingWeights if it is not fetched, RecipeError for backbone weights."""
    if find_known(name).recipe is None:
        raise RecipeError(f"{name} is a backbone and finds nothing by itself: train with --set backbone={name}")
    return kept_weights(name).parent


def is_start(folder: Path) -> bool:
    """Tell whether a folder is one of the cache's."""
    return folder == start_folder(folder.name)
