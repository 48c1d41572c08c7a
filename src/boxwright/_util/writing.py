"""Write files in one piece: a reader, or a crash, never meets half of one."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from boxwright.errors import WriteError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` once the block ends without an error.

    The folder is made where it is missing. The partial file goes where the block fails.

    Raises:
        WriteError: where the file system refuses: full, read-only, no permission, a folder of that name.
    """
    partial = path.with_name(f".{path.name}.partial")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one piece. Raises WriteError."""
    with written_aside(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in one piece; surrogates of file names that are no UTF-8 become ``\\udcxx``.

    Raises WriteError.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write plain values as a UTF-8 JSON file in one piece. Raises WriteError."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")
