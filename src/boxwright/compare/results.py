"""What a comparison knows: its arms, the result of each run, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boxwright.compare.statistics import Difference

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""The numbers of a run, in the order of the tables."""


@dataclass(frozen=True)
class Arm:
    """One of the recipes that are compared."""

    name: str
    settings: Mapping[str, str]
    """Recipe keys that this arm sets, and their values as text."""
    baseline: bool = False


@dataclass(frozen=True)
class RunResult:
    """One training of an arm, measured on the validation split."""

    arm: str
    seed: int
    metrics: Mapping[str, float]
    """``METRICS`` by name; NaN where there is no target of that size."""
    per_class: Mapping[str, Mapping[str, float]]
    """Class name -> number by name, as ``MetricsTable.per_class``."""
    errors: Mapping[str, float]
    """AP lost to each kind of error (TIDE); may be empty."""
    seconds: float
    """Of training steps, without validation and set-up."""
    images_per_second: float
    peak_memory_mb: float
    """Of the run's process, or of its GPU where it trained on one."""
    steps: int
    failed: str = ""
    """Why there is no result; the numbers are empty then."""


@dataclass(frozen=True)
class Comparison:
    """All that a comparison found."""

    title: str
    arms: Sequence[Arm]
    runs: Sequence[RunResult]
    differences: Mapping[str, Difference]
    """Of AP, by the name of each arm but the baseline; arms without two comparable runs are missing."""
    facts: Mapping[str, Any]
    """Budget, steps, seeds, equalised weights, data, environment, command, recommended arm."""

    @property
    def baseline(self) -> Arm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.baseline)

    def of_arm(self, name: str) -> list[RunResult]:
        """The runs of an arm that have a result, by seed."""
        found = [run for run in self.runs if run.arm == name and not run.failed]
        return sorted(found, key=lambda run: run.seed)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
