"""The outcome of a claim: a difference with its interval, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.ownership import GENERATOR
from boxwright._util.plain import plain
from boxwright._util.writing import write_json
from boxwright.environment import environment_line
from boxwright.evaluate.intervals import t_quantile

Verdict = Literal["as stated", "opposite", "no difference at this size", "failed"]

_LEVEL = 0.95


@dataclass(frozen=True)
class Outcome:
    """The outcome of one claim at one size."""

    claim: str
    size: str
    seeds: int
    arm: float | None = None
    """Mean of the measure over the seeds, for the claim's arm."""
    against: float | None = None
    difference: float | None = None
    """``arm`` - ``against``."""
    low: float | None = None
    """Lower end of the 95 % interval; None with one seed."""
    high: float | None = None
    verdict: Verdict = "failed"
    why: str = ""
    """The reason of a failure."""
    machine: str = field(default_factory=environment_line)
    day: str = field(default_factory=lambda: date.today().isoformat())


@dataclass(frozen=True)
class Interval:
    """A mean difference and the ends of its 95 % interval; NaN with one seed."""

    mean: float
    low: float
    high: float


def judge(low: float, high: float, *, less_is_better: bool = False) -> Verdict:
    """Judge whether an interval of the claimed arm's measure minus the other's excludes 0, and on which side."""
    if less_is_better:
        low, high = -high, -low
    if low > 0:
        return "as stated"
    return "opposite" if high < 0 else "no difference at this size"


def paired_interval(arm: Sequence[float], against: Sequence[float]) -> Interval:
    """Compute Student's interval of the paired differences, one value per seed.

    Raises:
        ValueError: If there are fewer than two pairs, or numbers differ.
    """
    away = [mine - theirs for mine, theirs in zip(arm, against, strict=True)]
    if len(away) < 2:
        raise ValueError(f"Expected two seeds or more but got {len(away)}")
    mean = fmean(away)
    reach = t_quantile((1 + _LEVEL) / 2, len(away) - 1) * stdev(away) / sqrt(len(away))
    return Interval(mean, mean - reach, mean + reach)


def write_outcome(file: Path, outcome: Outcome, definition: dict[str, Any]) -> None:
    """Write an outcome with everything that led to it; raises WriteError."""
    write_json(file, {"generator": GENERATOR, "outcome": plain(asdict(outcome)), "definition": definition})


def read_outcome(file: Path, definition: dict[str, Any] | None = None) -> Outcome | None:
    """Read an outcome; None if there is none or its ``definition`` differs. Raises RecipeError for a damaged file."""
    if not file.exists():
        return None
    cure = ": remove it, and the same command makes it again"
    content = typed(read_own_json(file, cure), dict[str, Any], file, cure)
    if definition is not None and content.get("definition") != definition:
        return None
    return typed(content.get("outcome"), Outcome, file, cure)
