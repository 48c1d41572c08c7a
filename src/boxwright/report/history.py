"""The log of a training run, read from its metrics.csv."""

from __future__ import annotations

import csv
import re
import warnings
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from boxwright.errors import BoxwrightWarning

Series = tuple[list[float], list[float]]

_SCORE = re.compile(r"(^|[/_ ])(AP|AP50|AP75|mAP)$")
_SHARE = re.compile(r"(^|[/_ ])(hard_positives|positive_share)$")
_LOSS = re.compile(r"loss|(^|[/_ ])(cls|box|dfl)$")


class History(NamedTuple):
    """Column name -> x and y, in three groups."""

    losses: dict[str, Series]
    """Losses over steps."""
    scores: dict[str, Series]
    """Average precision on the validation split, over epochs (over steps where no epoch is logged)."""
    shares: dict[str, Series]
    """Shares that describe the supervision, over steps."""


def read_history(path: Path) -> History:
    """Read a CSV with a header, a ``step`` and an ``epoch`` column, and blanks where a row has no value for a column.

    A column's kind follows from its name, or the part of it after a ``/`` or ``_``: AP, AP50 and AP75 are scores; cls,
    box, dfl and names with "loss" are losses; hard_positives and positive_share are shares; the rest is left out. A
    missing or empty file gives an empty history, and so does one that is not a table, with a warning; cells that are
    not finite numbers are skipped.
    """
    history = History({}, {}, {})
    for number, row in enumerate(_rows(path) if path.is_file() else ()):
        step = _number(row.get("step"), float(number))
        epoch = _number(row.get("epoch"), step)
        for name, cell in row.items():
            value = _number(cell, None) if isinstance(name, str) else None
            if value is None or step is None or epoch is None:
                continue
            if _SCORE.search(name):
                _append(history.scores, name, epoch, value)
            elif _SHARE.search(name):
                _append(history.shares, name, step, value)
            elif _LOSS.search(name):
                _append(history.losses, name, step, value)
    return history


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        warnings.warn(f"{path} is damaged: the report has no curves of it", BoxwrightWarning, stacklevel=3)
        return []


def _append(series: dict[str, Series], name: str, x: float, y: float) -> None:
    xs, ys = series.setdefault(name, ([], []))
    xs.append(x)
    ys.append(y)


def _number(cell: str | None, default: float | None) -> float | None:
    try:
        value = float(cell or "nan")
    except ValueError:
        return default
    return value if isfinite(value) else default
