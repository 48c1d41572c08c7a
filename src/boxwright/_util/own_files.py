"""Read back JSON that boxwright wrote itself: whole and of the right types, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from boxwright.errors import RecipeError

T = TypeVar("T")


def read_own_json(path: Path, cure: str = "") -> Any:
    """Read a JSON file of ours. Raises RecipeError, with the ``cure``, if it can't be read."""
    if not path.is_file():  # nor a pipe, which would be waited for
        raise RecipeError(f"can't read {path}: it is no file{cure}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"can't read {path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is damaged: {_first_line(error)}{cure}") from None


def typed(content: Any, kind: type[T], path: Path, cure: str = "") -> T:
    """Validate JSON content as a ``kind`` (dataclass, TypedDict ...). Raises RecipeError if it is none."""
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise RecipeError(f"{path} is damaged: {_first_line(error)}{cure}") from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
