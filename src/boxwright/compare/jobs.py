"""A run of a comparison as plain values: what it needs to know, and what it leaves in its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from boxwright.compare.results import RunResult
from boxwright.recipes import Recipe
from boxwright.runs import Run


@dataclass(frozen=True)
class Job:
    """All that a run needs to know, wherever it runs."""

    arm: str
    seed: int
    recipe: Recipe
    """The arm's, with class names."""
    baseline: Recipe
    """The baseline's, whose weights the arm starts with as far as their shapes are the same."""
    steps: int
    folder: Path
    data: Path
    split: str = "train"
    val_split: str = "val"
    device: str = "auto"
    threads: int | None = None
    """None: as many as torch takes by itself."""
    workers: int = 0
    features: Path | None = None
    """Of the frozen tier: the folder of the backbone's features."""

    @property
    def result_file(self) -> Path:
        """Written last: a run that has it, and no failure in it, is finished."""
        return self.folder / "result.json"

    @property
    def progress_file(self) -> Path:
        """How many steps are done."""
        return self.folder / "progress"

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        result = read_result(self.result_file)
        return result is not None and not result.failed

    @property
    def steps_done(self) -> int:
        """As last noted."""
        try:
            return int(self.progress_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    @property
    def detections_file(self) -> Path:
        """Of the validation split, as COCO results."""
        return Run(self.folder).predictions / f"{self.val_split}.json"


def failed(job: Job, why: str) -> RunResult:
    """The result of a run without numbers."""
    return RunResult(job.arm, job.seed, {}, {}, {}, 0.0, 0.0, 0.0, 0, failed=why)


def write_result(path: Path, result: RunResult) -> None:
    """In one piece: a file that is there is whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")  # NaN stays NaN: it is read back
    partial.replace(path)


def read_result(path: Path) -> RunResult | None:
    """The result of a run; None where it has none yet."""
    try:
        return RunResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
