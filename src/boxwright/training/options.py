"""The options of a training apart from its recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from boxwright._util.own_files import typed
from boxwright.environment import Device, check_device, choose_device
from boxwright.errors import RecipeError
from boxwright.recipes import RecipeKeys

LoggerName = Literal["csv", "tensorboard", "wandb", "mlflow"]
Workers = int | Literal["auto"]


class RunKeys(TypedDict, total=False):
    """The fields of ``RunOptions`` as keyword arguments; a test keeps the two equal."""

    split: str
    val_split: str | None
    allow_links: bool
    group_by: str | None
    split_file: str | None
    minutes: float | None
    steps: int | None
    seed: int
    device: Device
    workers: Workers
    out: str | Path | None
    logger: LoggerName
    checkpoint_minutes: float
    compile: bool
    start: str | None


class TrainKeys(RecipeKeys, RunKeys, total=False):
    """The options of ``train``: a run's and the recipe's."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a training beside the recipe: data, length, device and outputs."""

    split: str = "train"
    val_split: str | None = "val"
    """None, or the word "none": no validation; the last averaged weights are the model."""
    allow_links: bool = False
    """Whether to follow links, and paths in data.yaml, that lead outside the data set's folder."""
    group_by: str | None = None
    """Rule for images that stay together when data without splits is split, see ``read_dataset``."""
    split_file: str | None = None
    """A file, or a run, that names the images of each split, instead of the data's own."""
    minutes: float | None = None
    """Minutes of training steps, instead of the recipe's epochs."""
    steps: int | None = None
    """Optimizer steps, instead of the recipe's epochs."""
    seed: int = 0
    device: Device = "auto"
    workers: Workers = "auto"
    """Processes that augment; 0: the training process itself; auto: by spare cores, if the set is large enough."""
    out: Path | None = None
    """The run folder; None: runs/<data set>-<recipe>, numbered."""
    logger: LoggerName = "csv"
    """Logger of the curves, besides metrics.csv."""
    checkpoint_minutes: float = 10.0
    """Minutes between two checkpoints within an epoch; each epoch ends with one anyway."""
    compile: bool = False
    """Whether the network goes through torch.compile before the first step."""
    start: str | None = None
    """Source of the weights: an earlier run, a file of weights, or a name of ``boxwright start list``."""

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise RecipeError(f"Expected minutes above 0 but got {self.minutes}")
        if not 0 <= self.seed < 2**32:
            raise RecipeError(f"Expected seed in 0..4294967295 but got {self.seed}")
        if self.steps is not None and (self.steps < 1 or self.minutes is not None):
            raise RecipeError(f"Expected at least 1 step, or minutes instead, but got {self.steps} and {self.minutes}")
        check_device(self.device)
        if self.logger not in get_args(LoggerName):
            raise RecipeError(f"Expected logger to be one of {', '.join(get_args(LoggerName))} but got {self.logger!r}")
        if not 0 <= self.checkpoint_minutes < math.inf:
            raise RecipeError(f"Expected checkpoint_minutes of at least 0 but got {self.checkpoint_minutes}")
        if self.workers != "auto" and (isinstance(self.workers, str) or self.workers < 0):
            raise RecipeError(f"Expected workers to be auto or at least 0 but got {self.workers!r}")

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> tuple[RunOptions, dict[str, Any]]:
        """Split keyword options into a run's and the recipe's."""
        known = {item.name for item in fields(cls)}
        own = {name: value for name, value in as_meant(options).items() if name in known}
        if own.get("out") is not None:
            own["out"] = Path(own["out"])
        if own.get("start") is not None:
            own["start"] = str(own["start"])
        return cls(**own), {name: value for name, value in options.items() if name not in known}

    def accelerator(self) -> Literal["cpu", "cuda", "xpu"]:
        """Return the kind of device to use; raises RecipeError as ``choose_device`` does."""
        return choose_device(self.device)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the folder, as ``RunOptions(**...)`` accepts it."""
        return {name: value for name, value in asdict(self).items() if name != "out"}

    @classmethod
    def recorded(cls, options: dict[str, Any], path: Path) -> RunOptions:
        """Read options written by ``to_json`` from the file ``path``; raises RecipeError if it holds none."""
        foreign = options.keys() - {item.name for item in fields(cls)}
        if foreign:
            raise RecipeError(f"{path}: unknown option {min(foreign)!r}: it is damaged, or of another version")
        return typed(options, cls, path)


def as_meant(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options as typed, where ``val_split`` may be the word "none"."""
    return {**options, "val_split": None} if options.get("val_split") == "none" else {**options}


FREE_ON_RESUME = ("minutes", "steps", "device", "workers", "logger", "checkpoint_minutes", "compile")
"""Options that may change when a run is resumed; everything else is the run's own."""
