"""Tensors in files that other programs wrote: read without unpickling anything, and found below whatever keys."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from boxwright.errors import RecipeError

_SHOWN = 3  # names of objects in a message
_DEPTH = 3  # of keys below which tensors are looked for


def read_foreign(path: Path) -> dict[Any, Any]:
    """Read a file of torch.save that holds only tensors, plain values and argparse's Namespace.

    Nothing else is unpickled.

    Raises:
        RecipeError: If it cannot be read, or holds anything else.
    """
    if path.exists() and not path.is_file():
        raise RecipeError(f"can't read weights from {path}: it is no file")
    try:
        with safe_globals([Namespace]):  # what torchvision's training scripts keep their options in
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RecipeError(f"can't read weights from {path}: {error.strerror}") from None
    except Exception:  # torch.load raises whatever a foreign file leads it into, with advice to trust the file
        raise RecipeError(f"{path} holds no weights: {_reason(path)}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds no weights: Expected tensors by name but got {type(content).__name__}")
    return content


def _reason(path: Path) -> str:
    """Explain why a file can't be loaded, listing its objects without creating them."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # whatever a foreign file leads it into
        names = []
    if not names:
        return "Expected tensors by name, as torch.save(model.state_dict(), file) writes them"
    return (
        f"beside tensors it has objects ({', '.join(sorted(names)[:_SHOWN])}), which are never made of a file. "
        "Save the tensors alone where the model is: torch.save(model.state_dict(), file)"
    )


def state_dicts(content: Mapping[Any, Any], depth: int = 0) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors by name at each level of a file's content, averaged weights before the last ones.

    Training scripts put them below a key (``model``, ``state_dict``, ``ema``), some below several.
    """
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield tensors
    if depth < _DEPTH:
        for key in sorted((key for key, value in content.items() if isinstance(value, dict)), key=_rank):
            yield from state_dicts(content[key], depth + 1)


def _rank(key: Any) -> bool:
    """Rank averaged weights first, and everything else in the file's order."""
    return "ema" not in str(key).lower()
