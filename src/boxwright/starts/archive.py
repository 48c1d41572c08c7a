"""Read files from a package without installing it: a wheel is a ZIP, an npm package a gzipped tar.

Members are read by their exact names into memory. Nothing is unpacked, so no path or link of an archive leads anywhere.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from boxwright.errors import RecipeError

LARGEST_MEMBER = 64 << 20
"""Size limit of an unpacked member in bytes."""
_FAULTS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


def read_members(path: Path, names: Sequence[str]) -> list[bytes]:
    """The contents of an archive's members of these names, in this order.

    Raises RecipeError for a file that is no archive, and where a member is missing, no regular file or larger than
    ``LARGEST_MEMBER``.
    """
    try:
        found = _of_zip(path, names) if zipfile.is_zipfile(path) else _of_tar(path, names)
    except OSError as error:
        raise RecipeError(f"can't read {path}: {(error.strerror or str(error)).lower()}") from None
    except _FAULTS as error:
        raise RecipeError(f"{path} is no wheel and no npm package, or damaged: {error}") from None
    for name in names:
        if name not in found:
            raise RecipeError(f"{path} has no file {name}")
    return [found[name] for name in names]


def _of_zip(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        there = [item for item in archive.infolist() if item.filename in names]
        for item in there:
            _check_size(path, item.filename, item.file_size)
        return {item.filename: archive.read(item) for item in there}


def _of_tar(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r|gz") as archive:
        for item in archive:
            if item.name in names and item.isreg():
                _check_size(path, item.name, item.size)
                file = archive.extractfile(item)
                found[item.name] = file.read() if file is not None else b""
            if len(found) == len(names):
                break
    return found


def _check_size(path: Path, name: str, size: int) -> None:
    if size > LARGEST_MEMBER:
        raise RecipeError(f"{path}: Expected {name} of at most {LARGEST_MEMBER:,} bytes but got {size:,}")
