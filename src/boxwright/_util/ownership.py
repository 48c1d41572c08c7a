"""Tell what boxwright wrote from what people wrote, so that no command replaces a file of theirs.

A folder that boxwright makes holds a marker file. A file that it writes elsewhere says so itself: a page in its
generator tag, JSON in a key ``generator`` (of its first entry where it is a list), a JPEG in its comment.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boxwright._util.writing import write_json
from boxwright._version import __version__
from boxwright.errors import WriteError

FOLDER_MARKER = ".boxwright"
GENERATOR = f"boxwright {__version__}"
_SIGNS = (
    b'<meta name="generator" content="boxwright',
    b'"generator": "boxwright',
    b'"generator":"boxwright',
    b"made by boxwright",  # a JPEG's comment
)
_HEAD = 4096


def mark_folder(folder: Path, what: str) -> None:
    """Make a folder where it is missing, and mark it as boxwright's: readers of data sets skip it."""
    write_json(folder / FOLDER_MARKER, {"generator": GENERATOR, "what": what})


def is_marked(folder: Path) -> bool:
    """Whether boxwright made the folder."""
    return (folder / FOLDER_MARKER).is_file()


def is_ours(path: Path) -> bool:
    """Whether a file's content says that boxwright wrote it; so does one without content, which holds nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return any(sign in head for sign in _SIGNS) or head.strip() in (b"", b"[]")


def claim(path: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Make sure that ``path`` may be written: it is new or boxwright's own, or the user said ``--overwrite``.

    Args:
        inputs: the files that the command reads, which it never replaces, ``overwrite`` or not.

    Raises:
        WriteError: naming the file and what to do.
    """
    if not path.exists() and not path.is_symlink():
        return
    if any(_same_file(path, source) for source in inputs):
        raise WriteError(f"{path} is read by this very command: write to another place")
    if path.is_dir():
        raise WriteError(f"can't write {path}: it is a folder")
    if not overwrite and not is_ours(path):
        raise WriteError(f"{path} is there, and boxwright didn't write it: write elsewhere, or add --overwrite")


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
