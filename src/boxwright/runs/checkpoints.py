"""Checkpoints of a training: plain values and tensors, written as a whole, read without unpickling anything."""

from __future__ import annotations

import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch

from boxwright._util.writing import written_aside
from boxwright.errors import RecipeError


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint aside and rename it. Raises WriteError."""
    with written_aside(path) as partial:
        try:
            with partial.open("wb") as file:
                torch.save(content, file)
        except RuntimeError as error:  # torch's "unexpected pos", in whose place the system's own words are wanted
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read the content of a checkpoint.

    Args:
        path: The file.
        mmap: Leave the tensors on disk until they are used.

    Raises:
        RecipeError: If the file is damaged (even by one flipped bit), is no checkpoint, or contains Python objects.
    """
    if path.exists() and not path.is_file():  # nor a pipe, which would be waited for
        raise _refusal(path, "it is no file")
    try:
        if not _is_whole(path):
            raise ValueError
        with warnings.catch_warnings(action="ignore"):  # torch's, about foreign files
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UnpicklingError:  # torch's own words advise to trust the file
        raise _refusal(path, "it has Python objects in it, which could run any code, and is not opened") from None
    except FileNotFoundError:
        raise _refusal(path, "there is no such file") from None
    except Exception:  # torch.load raises whatever a foreign file leads it into
        raise _refusal(path, "it is damaged, or another program's") from None
    if not isinstance(content, dict):
        raise _refusal(path, "it is another program's")
    return content


def _is_whole(path: Path) -> bool:
    """Tell whether all parts have the checksums that torch.save gave them, which torch.load does not check."""
    with ZipFile(path) as archive:
        stored = all(part.compress_type == ZIP_STORED for part in archive.infolist())
        return stored and archive.testzip() is None


def _refusal(path: Path, why: str) -> RecipeError:
    return RecipeError(f"{path} is no checkpoint and holds no model: {why}")
