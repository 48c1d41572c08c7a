"""The destinations of a run's curves: metrics.csv always, and a tracker by name."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from boxwright._util.writing import write_errors, write_text
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.training.options import LoggerName

_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
_SAVE_EVERY = 100  # steps

Row = Mapping[str, Any]


class MetricsFile(Logger):
    """Writes metrics.csv. Rows are appended; when a column is new, the file is rewritten.

    Nothing is written before the first row: a run that turns out to be finished keeps its file.
    """

    def __init__(self, path: Path, before: Sequence[Row] = ()) -> None:
        """Keep ``before``, the rows of the file that belong to the resumed run."""
        super().__init__()
        self._path = path
        self._before = before
        self._columns: list[str] = []
        self._new: list[Row] = []

    @property
    def name(self) -> str:
        """The logger's name."""
        return ""

    @property
    def version(self) -> str:
        """The logger's version."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder of the file."""
        return str(self._path.parent)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: recipe.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row."""
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self._new.append({**values, "step": step})
        if step is not None and (step + 1) % _SAVE_EVERY == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that are not in the file yet; raises WriteError."""
        if not self._new:
            return
        columns = sorted({*self._columns, *(name for row in self._new for name in row)})
        if columns == self._columns and self._path.is_file():
            self._add(_as_text(columns, self._new))
        else:
            old = read_metrics(self._path) if self._columns else self._before
            columns = sorted({*columns, *(name for row in old for name in row)})
            write_text(self._path, _as_text(columns, [*old, *self._new], header=True))
        self._columns, self._new = columns, []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows."""
        try:
            self.save()
        except WriteError:
            if status != "failed":  # after a failure, whose message matters more, and which may have the same cause
                raise

    def _add(self, text: str) -> None:
        with write_errors(self._path), self._path.open("rb+", buffering=0) as file:
            end, left = file.seek(0, os.SEEK_END), memoryview(text.encode())
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read the complete rows of a metrics.csv, without empty cells; none if there is no file.

    Raises:
        RecipeError: If the file is no longer such a table.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = io.StringIO(text[: text.rfind("\n") + 1], newline="")  # the rest was cut off by a crash
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(lines)]
        if all(row["step"].isdecimal() and None not in row for row in rows):
            return rows
    except OSError as error:
        raise RecipeError(f"can't read {path}: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, csv.Error, KeyError, AttributeError):
        pass
    raise RecipeError(f"{path} is damaged, or another program has changed it: move it away to go on without its rows")


def make_loggers(name: LoggerName, run: Run, steps_done: int = 0) -> list[Logger]:
    """Make metrics.csv, keeping the rows of the first ``steps_done`` steps, and the tracker if one is named.

    Raises:
        RecipeError: If its package is not installed, or the rows cannot be read.
    """
    before = [row for row in read_metrics(run.metrics_file) if int(row["step"]) < steps_done] if steps_done else []
    table = MetricsFile(run.metrics_file, before)
    return [table] if name == "csv" else [table, _tracker(name, run)]


def _as_text(columns: Sequence[str], rows: Sequence[Row], *, header: bool = False) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _tracker(name: LoggerName, run: Run) -> Logger:
    from lightning.pytorch import loggers

    try:
        if name == "tensorboard":
            return loggers.TensorBoardLogger(run.folder, name="tensorboard", version="")
        if name == "wandb":
            return loggers.WandbLogger(name=run.folder.name, project="boxwright", save_dir=run.folder)
        import mlflow

        # Lightning's own default is a file store, which mlflow has abandoned
        return loggers.MLFlowLogger("boxwright", run.folder.name, tracking_uri=mlflow.get_tracking_uri())
    except ModuleNotFoundError:
        raise RecipeError(f"logger {name} needs its package: pip install {_PACKAGES[name]}") from None
