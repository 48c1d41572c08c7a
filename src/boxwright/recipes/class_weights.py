"""The schemes that the key ``class_weights`` can name, with options: "inverse_log:normalize=false,absent=0"."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from boxwright.errors import RecipeError
from boxwright.text import did_you_mean
from boxwright.values import coerce, shown

_FOR_ALL: dict[str, Any] = {"normalize": bool, "absent": float | None}
SCHEMES: dict[str, dict[str, Any]] = {
    "inverse": _FOR_ALL,
    "inverse_sqrt": _FOR_ALL,
    "inverse_log": _FOR_ALL,
    "effective": {**_FOR_ALL, "beta": float},
}
"""Scheme -> option -> type, as in ``losses.class_weights``, which is not imported here to avoid importing torch."""


def scheme_of(text: str) -> tuple[str, dict[str, Any]] | None:
    """Parse the scheme and its options in a value of ``class_weights``; None for "none", and for weights by name.

    Raises:
        RecipeError: For an option that the scheme does not have, a value of another type or out of range, and a
            misspelled scheme with options.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if name not in SCHEMES:
        if colon and get_close_matches(name, SCHEMES):
            raise RecipeError(f"unknown class_weights {shown(name)}{did_you_mean(name, SCHEMES)}")
        return None
    options: dict[str, Any] = {}
    for item in filter(None, map(str.strip, rest.split(","))):
        option, _, value = (part.strip() for part in item.partition("="))
        if option not in SCHEMES[name]:
            raise RecipeError(
                f"class_weights {name!r} has no option {shown(option)}{did_you_mean(option, SCHEMES[name])}"
            )
        if option in options:
            raise RecipeError(f"class_weights {shown(text)} has {option} twice")
        options[option] = coerce(f"{option} of class_weights {name}", value, SCHEMES[name][option])
    if not 0 <= options.get("beta", 0) < 1 or (options.get("absent") or 0) < 0:
        raise RecipeError(f"Expected beta in 0..1 and absent of at least 0 but got class_weights {shown(text)}")
    return name, options
