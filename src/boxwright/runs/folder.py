"""The run folder while it is written: created for one process, and locked as long as that process writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright._util.folders import make_folder, remove_empty, taken_folder
from boxwright._util.locking import locked
from boxwright._util.ownership import is_marked
from boxwright._util.writing import write_errors
from boxwright.errors import RecipeError
from boxwright.runs.run import Run


@contextmanager
def new_run(out: Path | None, base: str) -> Iterator[Run]:
    """Create a run folder, ``out`` or else runs/BASE, numbered; mark it as boxwright's, and hold its lock.

    A folder whose run was killed before there was a checkpoint or a model is taken again. Where the block ends before
    there is a recipe.yaml, all that was made goes.

    Raises:
        RecipeError: where the folder holds a run, or another process is at it.
        WriteError: where it can't be made, or files of other origin are in the way.
    """
    if out is not None:
        check_free(Run(out))
    folder, made = (out, []) if out is not None else _numbered(base)
    run = Run(folder)
    try:
        with taken_folder(folder, "run", [path.name for path in run.files], run.lock_file.name):
            check_free(run)
            yield run
    finally:
        remove_empty(made)


@contextmanager
def held_run(run: Run) -> Iterator[None]:
    """Hold the lock of a run that is continued. Raises RecipeError where it can't, or another process is at it."""
    for needed in (run.recipe_file, run.data_file):
        if not needed.is_file():
            again = f": start it again with --out {run.folder}" if _is_restartable(run) else ""
            raise RecipeError(f"can't resume {run.folder}: it has no {needed.name}{again}")
    with locked(run.lock_file):
        yield


def check_free(run: Run) -> None:
    """Raise RecipeError if a folder holds a run that must not be lost."""
    if run.recipe_file.exists() and not _is_restartable(run):
        raise RecipeError(f"{run.folder} holds a run already: name another folder with --out, or --resume {run.folder}")


def _is_restartable(run: Run) -> bool:
    """Tell whether the folder is boxwright's and holds nothing that a training could lose."""
    kept = (run.last_checkpoint, run.best_checkpoint, run.model_file)
    return is_marked(run.folder) and not any(path.exists() for path in kept)


def _numbered(base: str) -> tuple[Path, list[Path]]:
    """Create a new folder runs/BASE, runs/BASE-2 ...; also returns every folder created for it."""
    parent = Path("runs")
    made = make_folder(parent)
    folder, number = parent / base, 1
    while not _is_made(folder):
        number += 1
        folder = parent / f"{base}-{number}"
    return folder, [folder, *made]


def _is_made(folder: Path) -> bool:
    """Create a folder; False if something has that name."""
    with write_errors(folder):
        try:
            folder.mkdir()
        except FileExistsError:
            return False
    return True
