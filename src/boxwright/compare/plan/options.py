"""The options of a comparison, apart from the arms and their recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from boxwright.environment import Device
from boxwright.errors import RecipeError
from boxwright.recipes import RecipeKeys

Executor = Literal["local", "ray"]
Tier = Literal["full", "frozen"]
BoxWeights = Literal["equal", "fixed"]


class ComparisonKeys(TypedDict, total=False):
    """The fields of ``CompareOptions`` as keyword arguments; a test keeps the two equal."""

    seeds: int
    minutes: float | None
    steps: int | None
    out: str | Path | None
    executor: Executor
    tier: Tier
    box_weights: BoxWeights
    test: bool
    split: str
    val_split: str
    allow_links: bool
    group_by: str | None
    split_file: str | None
    device: Device
    threads: int | None
    workers: int
    command: str


class CompareKeys(RecipeKeys, ComparisonKeys, total=False):
    """The options of ``compare``: a comparison's and the recipe's."""


@dataclass(frozen=True)
class CompareOptions:
    """Options of a comparison: seeds, length, place, and how arms are made comparable."""

    seeds: int = 3
    """Runs of each arm, with the seeds 0, 1, ..."""
    minutes: float | None = None
    """Minutes of training steps that a run of the baseline takes; converted to steps once."""
    steps: int | None = None
    """Optimizer steps of each run, instead of minutes. Neither: the recipe's epochs."""
    out: Path | None = None
    """The comparison's folder; None: compare/<data set>."""
    executor: Executor = "local"
    tier: Tier = "full"
    box_weights: BoxWeights = "equal"
    """``equal``: box losses other than the baseline's get the weight at which their initial gradient has the norm of
    the baseline's; ``fixed``: the recipe's weight.
    """
    test: bool = False
    """Measure the recommended arm on the test split, once."""
    split: str = "train"
    val_split: str = "val"
    allow_links: bool = False
    """Whether to follow links, and paths in data.yaml, that lead outside the data set's folder."""
    group_by: str | None = None
    """Rule for images that stay together when data without splits is split, see ``read_dataset``."""
    split_file: str | None = None
    """A file, or a run, that names the images of each split, instead of the data's own."""
    device: Device = "auto"
    threads: int | None = None
    """Threads per run; None: all cores. A Ray task reserves this many CPUs."""
    workers: int = 0
    """Processes per run that augment; the results do not depend on them."""
    command: str = ""
    """The command line that asked for this, for the report."""

    def __post_init__(self) -> None:
        for name, known in (("executor", Executor), ("tier", Tier), ("box_weights", BoxWeights), ("device", Device)):
            if getattr(self, name) not in get_args(known):
                raise RecipeError(
                    f"Expected {name} to be one of {', '.join(get_args(known))} but got {getattr(self, name)!r}"
                )
        for name in ("seeds", "steps", "minutes", "threads"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise RecipeError(f"Expected {name} above 0 but got {value}")
        if self.minutes is not None and self.steps is not None:
            raise RecipeError("Expected minutes or steps but got both")

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> tuple[CompareOptions, dict[str, Any]]:
        """Split keyword options into a comparison's and the recipe's."""
        known = {item.name for item in fields(cls)}
        own = {name: value for name, value in options.items() if name in known}
        if own.get("out") is not None:
            own["out"] = Path(own["out"])
        return cls(**own), {name: value for name, value in options.items() if name not in known}
