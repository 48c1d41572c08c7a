"""Lock a file for one process; the system frees it when the process ends, however it ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boxwright._util.printing import printable
from boxwright._util.writing import write_errors
from boxwright.errors import RecipeError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # of some network file systems
_BEYOND = 1 << 30  # the byte that Windows locks: nobody can read a locked one
_POLL = 0.2  # seconds
_held: set[int] = set()


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock on the file ``path``, which is created if missing and stays there, empty.

    The lock belongs to the process, not to the file: a killed process leaves nothing to clean up. If the file system
    has no locks, none is held.

    Args:
        path: The lock file.
        patience: Seconds to wait for another process.

    Raises:
        RecipeError: If another process holds it, naming the process and its machine.
        WriteError: If the file cannot be created.
    """
    with write_errors(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with write_errors(path):
            _acquire(file, path, time.monotonic() + patience)
            _held.add(file)
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        _held.discard(file)
        os.close(file)


def _acquire(file: int, path: Path, until: float) -> None:
    while not _try(file):
        if time.monotonic() >= until:
            raise RecipeError(f"{path.parent} is in use by {_holder(path)}: wait until it ends, or end it")
        time.sleep(_POLL)


def _try(file: int) -> bool:
    """Try to take the lock, and tell whether it is ours now."""
    try:
        if sys.platform == "win32":
            os.lseek(file, _BEYOND, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _holder(path: Path) -> str:
    try:
        written = path.read_text(encoding="utf-8", errors="replace")[:200].strip()
    except OSError:
        written = ""
    return printable(written) or "another process"


def _leave_to_parent() -> None:
    """Close what a forked process inherits: the lock is its parent's alone, and ends with it."""
    for file in _held:
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
