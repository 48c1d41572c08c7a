"""Make folders for what boxwright writes: beside people's files, never in their place, for one process at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from boxwright._util.locking import locked
from boxwright._util.ownership import FOLDER_MARKER, is_marked, is_ours, mark_folder
from boxwright._util.writing import write_errors
from boxwright.errors import WriteError


@contextmanager
def taken_folder(folder: Path, what: str, names: Sequence[str], lock: str) -> Iterator[None]:
    """Create a folder if it is missing, hold a lock in it, and mark it as boxwright's if it was missing or empty.

    A folder with people's files stays theirs, and new files are added to it. If the block ends before the first of
    ``names`` exists, everything created is removed.

    Args:
        folder: The folder.
        what: What it is for, in messages.
        names: What will be written, in this order.
        lock: The lock file.

    Raises:
        RecipeError: If another process holds the lock.
        WriteError: If the folder cannot be created, or people's own files have these names.
    """
    _check_names(folder, names, lock)
    made = make_folder(folder)
    with locked(folder / lock):
        marked = is_marked(folder)
        try:
            _check_names(folder, names, lock)
            if not _content(folder, lock):
                mark_folder(folder, what)
            yield
        finally:
            if not (folder / names[0]).exists():
                _remove(folder, [lock] if marked else [lock, FOLDER_MARKER])
                remove_empty(made)


def make_folder(folder: Path) -> list[Path]:
    """Make a folder with its parents; return those that were missing, the innermost first. Raises WriteError."""
    with write_errors(folder):
        missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
        folder.mkdir(parents=True, exist_ok=True)
    return missing


def _check_names(folder: Path, names: Sequence[str], lock: str) -> None:
    if is_marked(folder) or is_ours(folder / names[0]):
        return
    if taken := [name for name in names if name in _content(folder, lock)]:
        raise WriteError(f"{folder / taken[0]} is there, and boxwright didn't write it: name another folder with --out")


def _content(folder: Path, lock: str) -> set[str]:
    with write_errors(folder):
        return {path.name for path in folder.iterdir()} - {lock} if folder.exists() else set()


def _remove(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        with suppress(OSError):  # Windows keeps what is open
            (folder / name).unlink()


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
