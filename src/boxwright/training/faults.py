"""Faults outside a training's control, out of memory and dead workers, explained in one line with a cure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from boxwright._util.memory import is_out_of_memory
from boxwright._util.stopping import stop_behind
from boxwright.errors import BoxwrightError
from boxwright.models.memory import largest_input
from boxwright.recipes import Recipe
from boxwright.runs import Run

_SHARED = re.compile(r"shared memory|\(shm\)|Bus error")
_ENDED = re.compile(r"DataLoader worker \(pid.*?\) (is killed by signal: (?P<signal>[^.]*)|exited unexpectedly)")
_FROM_WORKER = re.compile(r"Caught \w+ in DataLoader worker process")
_OWN = re.compile(r"^boxwright\.errors\.\w+: (.*)", re.MULTILINE | re.DOTALL)

MORE_SHARED = "--workers 0 needs none; docker run --shm-size=1g gives a container more"


@contextmanager
def faults_explained(run: Run, recipe: Recipe, workers: int) -> Iterator[None]:
    """Raise BoxwrightError for lack of memory and dead workers, KeyboardInterrupt for Lightning's exit."""
    try:
        yield
    except SystemExit as error:
        raise stop_behind(error) or error from None
    except Exception as error:
        text = _explanation(error, recipe, workers)
        if text is None:
            raise
        again = f"; --resume {run.folder} goes on from the last checkpoint" if run.last_checkpoint.is_file() else ""
        raise BoxwrightError(text + again) from error


def _explanation(error: Exception, recipe: Recipe, workers: int) -> str | None:
    """Explain what happened, and what to type; None for an unknown error."""
    text = str(error)
    if _FROM_WORKER.search(text) and (own := _OWN.search(text)):
        return own[1].strip()
    if isinstance(error, BoxwrightError):
        return None
    if _SHARED.search(text):
        return f"the {workers} workers ran out of shared memory (/dev/shm): {MORE_SHARED}"
    if ended := _ENDED.search(text):
        return _of_worker(ended["signal"], recipe, workers)
    if "Too many open files" in text:
        return f"too many open files for {workers} workers: ulimit -n 4096 allows more, --workers 0 needs fewer"
    if is_out_of_memory(error):
        return f"out of memory{_device(text)}: {_cure(recipe)}"
    return None


def _of_worker(ended_by: str | None, recipe: Recipe, workers: int) -> str:
    """Explain a dead worker: the system kills processes when memory runs out, and the loader may not notice."""
    if ended_by in ("Killed", None):
        return (
            f"one of the {workers} workers died, as by a system that runs out of memory: fewer --workers (0 does "
            f"without), or a batch_size below {recipe.batch_size}"
        )
    return f"one of the {workers} workers ended by signal {ended_by}: --workers 0 does without"


def _device(text: str) -> str:
    return " of the GPU" if re.search("cuda|cudnn|cublas", text, re.IGNORECASE) else ""


def _cure(recipe: Recipe) -> str:
    """Name the input that was too large, and what makes it smaller."""
    height, width = largest_input(recipe)
    halved = recipe.images_a_batch // 2
    same = f"--set batch_size={halved} --set accumulate={2 * recipe.accumulate} makes the same steps, "
    parts = same + "--set batch_size=auto takes what fits, " if halved else ""
    half = "" if recipe.precision == "bf16" else " or --set precision=bf16"
    return (
        f"a batch of {recipe.batch_size} images of {height} x {width} pixels was too large: {parts}"
        f"a smaller image_size{half} needs less"
    )
