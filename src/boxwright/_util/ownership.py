"""Tell what boxwright wrote from what people wrote, so that no command replaces a file of theirs.

A folder that boxwright makes holds a marker file. A file that it writes elsewhere says so itself: a page in its
generator tag, JSON in a key ``generator`` (of its first entry where it is a list), a picture in its comment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from boxwright._util.writing import is_stream, write_errors, write_json
from boxwright._version import __version__
from boxwright.errors import WriteError

FOLDER_MARKER = ".boxwright"
GENERATOR = f"boxwright {__version__}"
MADE_BY = f"made by {GENERATOR}"
"""The comment of a picture."""
_SIGNS = (
    b'<meta name="generator" content="boxwright',
    b'"generator": "boxwright',
    b'"generator":"boxwright',
    b"made by boxwright",
)
_HEAD = 4096


def mark_folder(folder: Path, what: str) -> None:
    """Make a folder where it is missing, and mark it as boxwright's: readers of data sets skip it."""
    write_json(folder / FOLDER_MARKER, {"generator": GENERATOR, "what": what})


def mark_new_folder(folder: Path, what: str) -> None:
    """Mark a folder that is missing or empty, and leave alone one that holds something, which may be people's."""
    with write_errors(folder):
        if not folder.exists() or not any(folder.iterdir()):
            mark_folder(folder, what)


def is_marked(folder: Path) -> bool:
    """Tell whether boxwright made the folder."""
    return (folder / FOLDER_MARKER).is_file()


def is_ours(path: Path) -> bool:
    """Tell whether a file's content says that boxwright wrote it, or is empty."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head[4:8] == b"ftyp":  # of an MP4 video, whose comment comes last
                file.seek(max(path.stat().st_size - _HEAD, 0))
                head = file.read()
    except OSError:
        return False
    return any(sign in head for sign in _SIGNS) or head.strip() in (b"", b"[]")


def claim(*paths: Path, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Make sure that ``paths`` can and may be written: new, boxwright's own, or allowed by ``--overwrite``.

    Args:
        paths: The files to write.
        overwrite: Whether files that boxwright did not write may be replaced.
        inputs: Files that the command reads or its data set refers to, which are never replaced, with or without
            ``overwrite``. They are checked only if one of ``paths`` exists.

    Raises:
        WriteError: Naming the file and what to do.
    """
    for folder in {path.parent: path for path in paths}.values():
        _check_folder(folder)
    there = [path for path in paths if _is_there(path)]
    read = {identity for path in inputs for identity in _identity(path)} if there else set()
    for path in there:
        if not read.isdisjoint(_identity(path)):
            raise WriteError(f"{path} is read by this very command, or part of its data set: write to another place")
        if path.is_dir():
            raise WriteError(f"can't write {path}: it is a folder")
        if not overwrite and not is_ours(path):
            raise WriteError(f"{path} is there, and boxwright didn't write it: write elsewhere, or add --overwrite")


def _check_folder(path: Path) -> None:
    """Raise WriteError where the folder of ``path`` can't be made, or nothing can be made in it."""
    with write_errors(path):
        folder = next(parent for parent in path.absolute().parents if parent.exists() or parent.is_symlink())
        if not folder.is_dir():
            raise WriteError(f"can't write {path}: {folder} is no folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise WriteError(f"can't write {path}: nothing may be written into {folder}")


def _is_there(path: Path) -> bool:
    with write_errors(path):
        return (path.exists() or path.is_symlink()) and not is_stream(path)


def _identity(path: Path) -> Iterator[tuple[int, int]]:
    """Device and number of the file, whatever names and links lead to it; nothing where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # missing; a name that no file system takes
        return
    yield found.st_dev, found.st_ino
