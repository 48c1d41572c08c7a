"""Write files in one piece: a reader, or a crash, never meets half of one."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from boxwright.errors import WriteError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LONGEST_NAME = 255  # bytes that file systems allow a name


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` once the block ends without an error.

    The folder is made where it is missing. A link stays, and what it leads to is written. The partial file goes where
    the block fails.

    Raises:
        WriteError: where the file system refuses: full, read-only, no permission, a folder or a device of that name.
    """
    with write_errors(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise WriteError(f"can't write {path}: it is {'a folder' if target.is_dir() else 'no regular file'}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(target)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def _partial(path: Path) -> Path:
    """Make a hidden name beside ``path`` that is short enough for a file system."""
    name = f".{path.name}.partial"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{blake2b(os.fsencode(path.name), digest_size=16).hexdigest()}.partial"
    return path.with_name(name)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a WriteError that names ``path`` and what to do."""
    try:
        yield
    except WriteError:  # it names the file that it is about
        raise
    except OSError as error:
        cure = ": free some space, or write elsewhere with --out" if error.errno in _FULL else ""
        raise WriteError(f"can't write {path}: {(error.strerror or str(error)).lower()}{cure}") from error


def is_stream(path: Path) -> bool:
    """Tell whether it is a pipe or character device, such as /dev/stdout or /dev/null, where nothing can be lost."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one piece; into a pipe or a character device, straight.

    Raises WriteError, for a pipe that nobody reads too: nothing is waited for.
    """
    with opened_aside(path) as file:
        file.write(content)


@contextmanager
def opened_aside(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write part by part, which is at ``path`` once the block ends without an error.

    Raises WriteError as ``write_bytes``.
    """
    if is_stream(path):
        with write_errors(path), _open_stream(path) as file:
            yield file
        return
    with written_aside(path) as partial, partial.open("wb") as file:
        yield file


def _open_stream(path: Path) -> BinaryIO:
    try:
        number = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise WriteError(f"can't write {path}: it is a pipe that nobody reads") from None
        raise
    os.set_blocking(number, True)
    return open(number, "wb")


def write_text(path: Path, text: str) -> None:
    r"""Write a UTF-8 file as a whole; surrogates from file names that are not UTF-8 become ``\udcxx``.

    Raises:
        WriteError: If it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write plain values as a UTF-8 JSON file in one piece. Raises WriteError."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def json_bytes(content: Any) -> bytes:
    """Encode plain values or structs as compact JSON.

    File names that are not UTF-8 become escapes of lone surrogates, which read back as the same names.
    """
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:
        builtins = msgspec.to_builtins(content)
        return json.dumps(builtins, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def write_json_list(path: Path, items: Iterable[Any]) -> None:
    """Write a JSON list, an item a line, as they come: memory doesn't grow with their number. Raises WriteError."""
    with opened_aside(path) as file:
        file.write(b"[")
        for place, item in enumerate(items):
            file.write((b",\n" if place else b"") + json_bytes(item))
        file.write(b"]\n")
