"""One run of a comparison: train an arm with a seed, measure it on the validation split, and keep the result."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor

from boxwright._util.locking import locked
from boxwright._util.ownership import FOLDER_MARKER, mark_folder
from boxwright._util.writing import write_errors, write_text
from boxwright.compare.results.results import METRICS, RunResult
from boxwright.compare.run.frozen import train_head
from boxwright.compare.run.jobs import Job, failed, write_result
from boxwright.compare.run.threads import using_threads
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.readers.reader import finding
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.models import build_detector
from boxwright.own_code import import_code
from boxwright.recipes import Recipe
from boxwright.runs import Run
from boxwright.runs.assess import evaluate_run
from boxwright.runs.splits import keep_splits
from boxwright.training import train
from boxwright.training.checkpoints import read_position

_BEAT = 1.0  # seconds between two updates of a run's progress
_PATIENCE = 120.0  # seconds that a run gets to stop when its comparison was killed


def execute(job: Job) -> RunResult:
    """Run a job or continue it; an error becomes its result, with the traceback in failure.txt.

    Only Ctrl-C raises, KeyboardInterrupt, after the step.
    """
    for module, folder in job.code:
        import_code([module], folder)
    mark_folder(job.folder, "run")
    with locked(job.lock_file, patience=_PATIENCE):
        return _execute(job)


def _execute(job: Job) -> RunResult:
    finished = job.result
    if finished is not None and not finished.failed:
        return finished
    try:
        with using_threads(job.threads):
            run = _train_frozen(job) if job.features else _train(job)
            # whoever takes the run on must not test it on images that it has learned
            keep_splits(run.split_file, Path(job.data), {**job.recipe.reader_options, **finding(job)})
            result = _measure(job, run)
    except Exception as error:
        write_text(job.folder / "failure.txt", traceback.format_exc())
        why = str(error) if isinstance(error, BoxwrightError) else f"{type(error).__name__}: {error}"
        result = failed(job, why)
    write_result(job.result_file, result)
    if not result.failed:
        Run(job.folder).last_checkpoint.unlink(missing_ok=True)  # the largest file, and nothing continues from it
    return result


def training_images(job: Job) -> DetectionDataset:
    """Read the data set that a job trains on."""
    recipe = job.recipe
    return read_dataset(
        job.data,
        job.split,
        classes=recipe.classes,
        negatives=recipe.negatives,
        **recipe.reader_options,
        **finding(job),
    )


def initial_weights(baseline: Recipe, seed: int) -> dict[str, Tensor]:
    """Draw the baseline's initial weights for a seed, by name.

    A pretrained backbone is left out: its weights are not random, and freezing folds them.
    """
    L.seed_everything(seed, verbose=False)
    weights: Mapping[str, Tensor] = build_detector(baseline, pretrained=False).state_dict()
    return {name: value for name, value in weights.items() if not (baseline.pretrained and ".backbone." in f".{name}")}


class Pulse(Callback):
    """Writes the number of steps done to a file now and then, and stops the training if the waiting process is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0.0

    def beat(self, step: int) -> None:
        """Record how many steps are done; raises KeyboardInterrupt if no process is waiting any more."""
        now = time.monotonic()
        if now - self._written < _BEAT:
            return
        self._written = now
        with write_errors(self.path):
            self.path.write_text(str(step), encoding="utf-8")
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise KeyboardInterrupt

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Record the step."""
        self.beat(trainer.global_step)


def _train(job: Job) -> Run:
    """Train the job's arm, or continue, without a validation split: the last averaged weights are the model.

    Choosing the best epoch on the images on which arms are compared would favor those that vary most.
    """
    dataset, run = training_images(job), Run(job.folder)
    common: dict[str, Any] = {"console": Console(file=sys.stdout), "callbacks": [Pulse(job.progress_file)]}
    if _can_go_on(run):
        return train(dataset, resume=job.folder, **common)
    _clear(job.folder)
    return train(
        dataset,
        job.recipe,
        initial=None if job.start else initial_weights(job.baseline, job.seed),
        start=job.start,
        seed=job.seed,
        steps=job.steps,
        split=job.split,
        **finding(job),
        val_split=None,
        device=job.device,
        workers=job.workers,
        out=job.folder,
        **common,
    )


def _can_go_on(run: Run) -> bool:
    if not run.last_checkpoint.exists():
        return False
    try:
        read_position(run.last_checkpoint)
    except RecipeError:
        return False
    return True


def _train_frozen(job: Job) -> Run:
    """Train neck and head, always from the start: it takes seconds to minutes."""
    _clear(job.folder)
    return train_head(job, training_images(job), initial_weights(job.baseline, job.seed), Pulse(job.progress_file).beat)


def _clear(folder: Path) -> None:
    """Remove what a run that cannot continue has left, except its log and the claim of its folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("run.log", "job.lock", FOLDER_MARKER):
            path.unlink()


def _measure(job: Job, run: Run) -> RunResult:
    record = run.record["training"]
    memory = peak_memory_mb(record["device"])
    metrics = evaluate_run(run.folder, job.data, job.val_split, **finding(job)).metrics
    images = record["steps"] * job.recipe.images_a_batch * job.recipe.accumulate
    return RunResult(
        arm=job.arm,
        seed=job.seed,
        metrics={name: metrics.numbers[name] for name in METRICS},
        per_class=metrics.per_class,
        errors={name: cost.dap for name, cost in metrics.errors.items()},
        seconds=images / max(record["images/s"], 1e-9),
        images_per_second=record["images/s"],
        peak_memory_mb=memory,
        steps=record["steps"],
    )


def peak_memory_mb(device: str) -> float:
    """Return the largest amount of memory that this process, or its GPU, has used so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
