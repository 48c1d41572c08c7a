"""Small helpers for messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from math import isnan, nan

_SENTENCE = re.compile(r"(?<!eq|ec)\. (?=[A-Z])")  # but not after eq. and sec.


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` if a known name is near, else the list of all; empty if there is none."""
    names = sorted(known)
    if not names:
        return ""
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"


def plural(number: int, what: str) -> str:
    """Return ``"1 error"``, ``"2 errors"``, ``"2 boxes"``, ``"2 classes"``."""
    if number == 1:
        return f"{number} {what}"
    return f"{number} {what}{'es' if what.endswith(('s', 'x', 'tch', 'sh')) else 's'}"


def first_sentence(doc: str | None) -> str:
    """Return the first sentence of a docstring, on one line; empty for none."""
    return _SENTENCE.split((doc or "").partition("\n\n")[0].replace("\n", " "), maxsplit=1)[0]


def decimals(value: float, low: float = nan, high: float = nan) -> str:
    """Write a number with three decimals, and its interval where it has one; a dash for NaN."""
    ends = "" if isnan(low) else f" [{low:.3f}, {high:.3f}]"
    return "-" if isnan(value) else f"{value:.3f}{ends}"
