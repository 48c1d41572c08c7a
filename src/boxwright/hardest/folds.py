"""Predictions out of fold: by detectors that never saw the image, so that a label learnt by heart can't hide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from boxwright._util.printing import say
from boxwright.data import DetectionDataset
from boxwright.data.grouping import identical_files
from boxwright.data.made_splits import hashed_fraction
from boxwright.errors import RecipeError
from boxwright.evaluate import DetectionColumns, read_results, save_results
from boxwright.runs import Run
from boxwright.runs.predict import predict_dataset
from boxwright.training import train
from boxwright.training.record import fingerprint

DETECTIONS = "detections.json"


def split_folds(dataset: DetectionDataset, folds: int) -> list[NDArray[np.int64]]:
    """Rows of the images of each fold: dealt out by the hash of their names, byte-identical images together.

    Raises RecipeError where there are fewer distinct images than folds, or less than two folds.
    """
    groups = identical_files(dataset.root, [dataset.paths[row] for row in range(len(dataset))])
    if not 2 <= folds <= len(groups):
        raise RecipeError(f"Expected 2 to {len(groups)} folds, the distinct images there are, but got {folds}")
    groups.sort(key=lambda rows: min(hashed_fraction(dataset.name(row)) for row in rows))
    return [np.sort(np.concatenate(groups[fold::folds])) for fold in range(folds)]


def predict_out_of_fold(
    run: str | Path,
    dataset: DetectionDataset,
    folds: int,
    *,
    console: Console,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> DetectionColumns:
    """Detections of every image by a detector that was trained, as the run was, on the other folds.

    The detectors have the run's recipe, seed and number of steps, start where it started (never from its weights), and
    lie under the run's folder. A fold that is finished is not trained again, a stopped one goes on.

    Raises DataError and RecipeError as ``boxwright.train``.
    """
    parts = split_folds(dataset, folds)
    found = []
    for held_out, fold in zip(parts, fold_runs(run, dataset, folds), strict=True):
        if not (fold.folder / DETECTIONS).is_file():
            say(console, f"{fold.folder.name} of {folds}", "bold")
            rest = dataset.subset(np.concatenate([part for part in parts if part is not held_out]))
            try:
                _train_fold(fold, Run.of(run), rest, console)
            except KeyboardInterrupt:
                say(console, f"stopped in {fold.folder.name} of {folds}: the same command goes on")
                raise
            _predict_fold(fold, dataset.subset(held_out), advance)
        found.append(read_results(fold.folder / DETECTIONS, dataset))
    return _concatenate(found)


def fold_runs(run: str | Path, dataset: DetectionDataset, folds: int) -> list[Run]:
    """Where the detectors of the folds are, or will be: other data has other folders."""
    home = Run.of(run).folder / "folds" / f"{dataset.split or 'all'}-{folds}-{fingerprint([dataset])[:10]}"
    return [Run(home / f"fold-{fold + 1}") for fold in range(folds)]


def _train_fold(fold: Run, run: Run, rest: DetectionDataset, console: Console) -> None:
    if fold.last_checkpoint.is_file():
        train(rest, resume=fold.folder, console=console)
        return
    recipe = run.recipe.replace(patience=0)  # there is no validation that it could go by
    training = run.record["training"]
    length = {"steps": training.get("steps"), "seed": training.get("seed", 0)}
    train(rest, recipe, **length, out=fold.folder, console=console)


def _predict_fold(fold: Run, held_out: DetectionDataset, advance: Callable[[int, int], None]) -> None:
    found, _ = predict_dataset(fold.load(), held_out, advance=lambda done: advance(done, len(held_out)))
    save_results(fold.folder / DETECTIONS, found, held_out)


def _concatenate(parts: Sequence[DetectionColumns]) -> DetectionColumns:
    return DetectionColumns(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "label", "score", "xywh"))
    )
