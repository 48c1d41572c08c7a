"""A run of a comparison as plain values: its inputs, and the files that it leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.writing import write_json
from boxwright.compare.results.results import METRICS, RunResult
from boxwright.environment import Device
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe
from boxwright.runs import Run

_CURE = ": remove it, and the same command makes the run again"


@dataclass(frozen=True)
class Job:
    """Everything that a run needs to know, wherever it runs."""

    arm: str
    seed: int
    recipe: Recipe
    """The arm's, with class names."""
    baseline: Recipe
    """The baseline's, whose weights the arm starts with where shapes are equal."""
    steps: int
    folder: Path
    data: Path
    split: str = "train"
    val_split: str = "val"
    allow_links: bool = False
    group_by: str | None = None
    split_file: str | None = None
    device: Device = "auto"
    threads: int | None = None
    """None: torch's default."""
    workers: int = 0
    code: tuple[tuple[str, str], ...] = ()
    """Modules of own parts that the recipes name, each with the folder where it is found."""
    start: str | None = None
    """Start of the training; then it has none of the baseline's weights."""
    features: Path | None = None
    """For the frozen tier: the folder of the backbone's features."""

    @property
    def result_file(self) -> Path:
        """The file written last: a run that has it, without a failure in it, is finished."""
        return self.folder / "result.json"

    @property
    def lock_file(self) -> Path:
        """The file that the process working on the run keeps locked, from the training to the result."""
        return self.folder / "job.lock"

    @property
    def progress_file(self) -> Path:
        """The file with the number of steps done."""
        return self.folder / "progress"

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        result = self.result
        return result is not None and not result.failed

    @property
    def result(self) -> RunResult | None:
        """Return the run's result; None if there is none yet. Raises RecipeError if the file is damaged."""
        result = read_result(self.result_file)
        if result is not None and (result.arm, result.seed) != (self.arm, self.seed):
            raise RecipeError(f"{self.result_file} is of another run{_CURE}")
        return result

    @property
    def steps_done(self) -> int:
        """Return the last recorded number of steps."""
        try:
            return int(self.progress_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    @property
    def detections_file(self) -> Path:
        """The file of the detections on the validation split, as COCO results."""
        return Run(self.folder).predictions / f"{self.val_split}.json"


def failed(job: Job, why: str) -> RunResult:
    """Make the result of a run that failed: without numbers."""
    return RunResult(job.arm, job.seed, {}, {}, {}, 0.0, 0.0, 0.0, 0, failed=why)


def write_result(path: Path, result: RunResult) -> None:
    """Write a result as a whole, so that an existing file is complete; raises WriteError."""
    write_json(path, asdict(result))  # NaN stays NaN: it is read back


def read_result(path: Path) -> RunResult | None:
    """Read the result of a run; None if there is none yet. Raises RecipeError if the file is damaged."""
    if not path.exists():
        return None
    result = typed(read_own_json(path, _CURE), RunResult, path, _CURE)
    rows = [result.metrics.keys() >= set(METRICS), *("AP" in row for row in result.per_class.values())]
    if not result.failed and not all(rows):
        raise RecipeError(f"{path} is damaged: there are metrics missing{_CURE}")
    return result
