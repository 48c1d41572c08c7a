"""What a comparison knows: its arms, the result of each run, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from boxwright._util.notebook import html_table, paragraphs
from boxwright._util.plain import plain
from boxwright.compare.results.verdict import Headline, headline
from boxwright.text import decimals

if TYPE_CHECKING:
    from boxwright.compare.results.statistics import Difference

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""The numbers of a run, in the order of the tables."""

BESIDE_THE_RECIPE = ("recipe", "start")
"""Keys that an arm may name beside a recipe's: its base recipe, and the start of its trainings."""

COSTS = ("seconds", "images_per_second", "peak_memory_mb")


@dataclass(frozen=True)
class Arm:
    """One of the recipes that are compared."""

    name: str
    settings: Mapping[str, str]
    """Recipe keys that this arm sets, and their values as text; ``BESIDE_THE_RECIPE`` may stand among them."""
    baseline: bool = False

    @property
    def start(self) -> str | None:
        """Start of its trainings, as ``train`` takes it; None: published weights of the backbone."""
        start = self.settings.get("start", "none")
        return None if start in ("none", "null") else start

    @property
    def other_recipe(self) -> bool:
        """Whether it stands on a recipe of its own, or on one that its start may bring."""
        return bool(self.settings.get("recipe") or self.start)


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
    """Seconds of training steps, without validation and set-up."""
    images_per_second: float
    peak_memory_mb: float
    """Peak memory of the run's process, or of its GPU if it trained on one, in MB."""
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
    """Differences in AP by the name of each arm but the baseline; arms without two comparable runs are missing."""
    facts: Mapping[str, Any]
    """Budget, steps, seeds, equalized weights, data, environment, command, recommended arm."""

    @property
    def baseline(self) -> Arm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.baseline)

    @property
    def headline(self) -> Headline:
        """The answer in words: ``print(comparison.headline)``."""
        return headline(self)

    def _repr_html_(self) -> str:
        rows = []
        for arm in self.arms:
            mean, spread = self.spread(arm.name, "AP")
            found = self.differences.get(arm.name)
            less = [decimals(found.mean, found.low, found.high), found.verdict] if found else ["", ""]
            rows.append([arm.name, f"{decimals(mean)} ± {decimals(spread)}", *less])
        table = html_table(("arm", "AP ± sd over seeds", "less the baseline", "verdict"), rows, most=len(rows))
        return paragraphs(*self.headline.lines) + table

    def of_arm(self, name: str) -> list[RunResult]:
        """List the runs of an arm that have a result, by seed."""
        found = [run for run in self.runs if run.arm == name and not run.failed]
        return sorted(found, key=lambda run: run.seed)

    def spread(self, name: str, metric: str) -> tuple[float, float]:
        """Compute mean and standard deviation of a metric over an arm's seeds; NaN for what isn't defined."""
        values = [run.metrics[metric] for run in self.of_arm(name)]
        return (fmean(values) if values else nan), (float(np.std(values, ddof=1)) if len(values) > 1 else nan)

    def class_mean(self, name: str, label: str) -> float:
        """Compute the mean AP of a class over an arm's seeds."""
        values = [run.per_class.get(label, {}).get("AP", nan) for run in self.of_arm(name)]
        return fmean(values) if values else nan

    def costs(self, name: str) -> dict[str, float]:
        """Compute mean time, speed and memory of an arm's runs."""
        runs = self.of_arm(name)
        return {key: fmean(getattr(run, key) for run in runs) for key in COSTS} if runs else {}

    def to_json(self) -> dict[str, Any]:
        """Give plain values: the headline's lines, all fields, and mean and sd of each arm's metrics."""
        means = {
            arm.name: {
                metric: dict(zip(("mean", "sd"), self.spread(arm.name, metric), strict=True)) for metric in METRICS
            }
            for arm in self.arms
        }
        content: dict[str, Any] = plain({"headline": self.headline.lines, **asdict(self), "means": means})
        return content
