"""Values in the type that a key declares: YAML, the command line and Python give text, whole numbers and lists."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin

from boxwright.errors import RecipeError

_NULLS = ("null", "~")
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LARGEST = 2**40


def coerce(name: str, value: Any, hint: Any) -> Any:
    """Convert ``value`` to the type ``hint``, text as YAML reads it; raises RecipeError if that is impossible."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if types.NoneType in get_args(hint) and (value is None or _word(value) in _NULLS):
            return None
        *others, last = (arg for arg in get_args(hint) if arg is not types.NoneType)
        for other in others:
            with suppress(RecipeError):
                return coerce(name, value, other)
        return coerce(name, value, last)
    if origin is Literal:
        if value not in get_args(hint):
            raise RecipeError(f"Expected {name} to be one of {', '.join(get_args(hint))} but got {shown(value)}")
        return value
    if origin in (tuple, Sequence):
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            items = [items]
        return tuple(coerce(name, item, get_args(hint)[0]) for item in items)
    return _coerce_scalar(name, value, hint)


def shown(value: Any) -> str:
    """Return ``repr`` for a message, shortened if long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more than 4,300 digits
        return "a number out of range"
    return text if len(text) <= 100 else f"{text[:90]}... ({len(text):,} characters)"


def _coerce_scalar(name: str, value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is bool and _word(value) in _BOOLS:
        return _BOOLS[_word(value)]
    if kind in (int, float) and isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return _whole(value) if kind is int else _finite(value)
    raise RecipeError(f"Expected {name} to be {kind.__name__} but got {shown(value)}")


def _whole(value: Any) -> int:
    if isinstance(value, float):
        raise ValueError
    number = int(value)
    if abs(number) > _LARGEST:
        raise ValueError
    return number


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _word(value: Any) -> str:
    return value.lower() if isinstance(value, str) else ""


def parse_range(name: str, text: str) -> tuple[float, float] | None:
    """Parse ``"12,4080"`` into two numbers; None for ``data`` and ``image``. Raises RecipeError for anything else."""
    if text in ("data", "image"):
        return None
    with suppress(ValueError):
        low, high = (float(number) for number in text.split(","))
        if -math.inf < low < high < math.inf:
            return low, high
    raise RecipeError(f"Expected {name} to be data, image or LOW,HIGH (0,4095) but got {shown(text)}")


def numbers_by_name(key: str, text: str, most: float = math.inf) -> dict[str, float]:
    """Parse ``"cat=1, dog=2.5"`` into numbers by name, in order; ``"none"`` gives no numbers."""
    numbers = {}
    for item in text.split(",") if text != "none" else ():
        name, equals, number = (part.strip() for part in item.rpartition("="))
        if not equals or not name:
            raise RecipeError(f"Expected {key} to be none or NAME=NUMBER,... but got {shown(text)}")
        numbers[name] = coerce(f"{key} of {shown(name)}", number, float)
        if not 0 <= numbers[name] <= most:
            expected = "of at least 0" if math.isinf(most) else f"in 0..{most:g}"
            raise RecipeError(f"Expected {key} of {shown(name)} {expected} but got {number}")
    return numbers
