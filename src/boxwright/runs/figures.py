"""figures/SPLIT.json: how good a run's model was on a split, kept for later pages and cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.ownership import GENERATOR
from boxwright._util.writing import write_json
from boxwright.runs.weights import recorded_hash

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset
    from boxwright.evaluate import MetricsTable
    from boxwright.runs.run import Run

Ends = tuple[float | None, float | None]
_CURE = ": remove it, and boxwright eval makes it anew"


class ClassScores(TypedDict):
    """Scores of a class."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    targets: int


class ErrorScore(TypedDict):
    """Cost of a kind of error."""

    dAP: float | None
    count: int


class Metrics(TypedDict):
    """Parts of ``MetricsTable.to_json`` that are shown again."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    per_class: dict[str, ClassScores]
    errors: dict[str, ErrorScore]
    intervals: dict[str, Any]


class Figures(TypedDict):
    """A model's results on a split."""

    model: str | None
    """Hash of the weights that were measured."""
    data: str
    """The data set's name."""
    split: str
    images: int
    options: list[str]
    """Typed options that make a difference."""
    protocol: str
    certainty: str
    metrics: Metrics


def write_figures(
    path: Path, run: Run, dataset: DetectionDataset, metrics: MetricsTable, options: Sequence[str]
) -> None:
    """Write a model's results on a split in one piece. Raises WriteError."""
    content = {
        "generator": GENERATOR,
        "model": recorded_hash(run.model_file),
        "data": dataset.root.resolve().name,
        "split": dataset.split or "all",
        "images": len(dataset),
        "options": list(options),
        "protocol": metrics.protocol,
        "certainty": metrics.certainty,
        "metrics": metrics.to_json(),
    }
    write_json(path, content)


def read_figures(run: Run) -> list[Figures]:
    """Read what was measured with exactly the weights of the run, split by split; test comes first.

    Raises RecipeError for a damaged file.
    """
    model = recorded_hash(run.model_file)
    files = sorted(run.figures.glob("*.json"), key=lambda path: (path.stem != "test", path.stem))
    found = [typed(read_own_json(path, _CURE), Figures, path, _CURE) for path in files]
    return [each for each in found if model is not None and each["model"] == model]
