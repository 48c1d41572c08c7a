"""Values as the type that a key declares: YAML and the command line give text, whole numbers and lists."""

from __future__ import annotations

import math
import types
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin

from boxwright.errors import RecipeError


def coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as ``hint``. Raises RecipeError where it can't be."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        *others, last = (arg for arg in get_args(hint) if arg is not type(None))
        for other in others:
            with suppress(RecipeError):
                return coerce(name, value, other)
        return coerce(name, value, last)
    if origin is Literal:
        if value not in get_args(hint):
            raise RecipeError(f"Expected {name} to be one of {', '.join(get_args(hint))} but got {value!r}")
        return value
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            items = [items]
        return tuple(coerce(name, item, get_args(hint)[0]) for item in items)
    return _coerce_scalar(name, value, hint)


def _coerce_scalar(name: str, value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return int(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            pass
    raise RecipeError(f"Expected {name} to be {kind.__name__} but got {value!r}")


def parse_range(name: str, text: str) -> tuple[float, float] | None:
    """``"12,4080"`` -> its two numbers; None for ``data`` and ``image``. Raises RecipeError where it is neither."""
    if text in ("data", "image"):
        return None
    with suppress(ValueError):
        low, high = (float(number) for number in text.split(","))
        if -math.inf < low < high < math.inf:
            return low, high
    raise RecipeError(f"Expected {name} to be data, image or LOW,HIGH (0,4095) but got {text!r}")
