"""Where the curves of a run go: metrics.csv always, and a tracker by name."""

from __future__ import annotations

import csv
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from boxwright.errors import RecipeError
from boxwright.runs import Run
from boxwright.training.options import LoggerName

_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


def make_loggers(name: LoggerName, run: Run, steps_done: int = 0) -> list[Logger]:
    """metrics.csv, which keeps what a resumed run wrote in its first ``steps_done`` steps, and the tracker if one is
    named. Raises RecipeError where its package isn't installed."""
    rows = _rows_before(run, steps_done)
    table = CSVLogger(run.folder, name="", version="")
    if rows:
        table.experiment.metrics.extend(rows)  # the writer starts a new file: these are its first rows
    return [table] if name == "csv" else [table, _tracker(name, run)]


def _rows_before(run: Run, step: int) -> list[dict[str, Any]]:
    if not step or not run.metrics_file.exists():
        return []
    with run.metrics_file.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if row.get("step", "").isdigit() and int(row["step"]) < step]


def _tracker(name: LoggerName, run: Run) -> Logger:
    from lightning.pytorch import loggers

    try:
        if name == "tensorboard":
            return loggers.TensorBoardLogger(run.folder, name="tensorboard", version="")
        if name == "wandb":
            return loggers.WandbLogger(name=run.folder.name, project="boxwright", save_dir=run.folder)
        import mlflow

        # Lightning's own default is a store of files, which mlflow has given up
        return loggers.MLFlowLogger("boxwright", run.folder.name, tracking_uri=mlflow.get_tracking_uri())
    except ModuleNotFoundError:
        raise RecipeError(f"logger {name} needs its package: pip install {_PACKAGES[name]}") from None
