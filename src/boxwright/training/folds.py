"""Cross-validation: every image of train and val is evaluated with a detector that was not trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from boxwright._util.folders import taken_folder
from boxwright._util.naming import folder_name
from boxwright._util.ownership import GENERATOR
from boxwright._util.printing import say
from boxwright._util.writing import write_json
from boxwright.data.grouping import grouped
from boxwright.data.layout import open_with_splits
from boxwright.data.made_splits import deal_out, split_names
from boxwright.data.readers.reader import ReaderOptions, finding
from boxwright.errors import DataError, RecipeError
from boxwright.recipes import Recipe
from boxwright.runs import Run
from boxwright.training.engine import train
from boxwright.training.options import RunOptions

SHOWN = ("AP", "AP50", "AP75")
_CONFIDENCE = 0.95
_DRAWS = 200_000


@dataclass(frozen=True)
class Folds:
    """The result of a cross-validation."""

    folder: Path
    images: tuple[int, ...]
    """Number of images in each fold."""
    scores: tuple[dict[str, float], ...]
    """AP, AP50 and AP75 of each fold, by the detector that was trained on the others."""

    def mean(self, name: str) -> tuple[float, float, float]:
        """Compute a score's mean over the folds, and its interval, see ``interval_over_folds``."""
        return interval_over_folds([scores[name] for scores in self.scores])


def interval_over_folds(scores: Sequence[float]) -> tuple[float, float, float]:
    """Compute the mean of the scores of K folds and its 95 % interval, Student's t with K - 1 degrees of freedom.

    The trainings share most of their images, so the variance of the scores underestimates that of a new training: it
    is widened by 1 / (K - 1), the ratio of test to training images, as Nadeau and Bengio do ("Inference for the
    generalization error", 2003, section 3.3). The ends are NaN if a score is undefined.

    Examples:
        >>> from boxwright.training.folds import interval_over_folds
        >>> mean, low, high = interval_over_folds([0.5, 0.6, 0.7])
        >>> round(mean, 2), round(high - mean, 2)
        (0.6, 0.39)
    """
    count = len(scores)
    values = np.array(scores, np.float64)
    if count < 2 or not np.isfinite(values).all():
        return (float(values.mean()) if count else nan, nan, nan)
    error = sqrt((1 / count + 1 / (count - 1)) * values.var(ddof=1))
    reach = np.quantile(np.abs(np.random.default_rng(0).standard_t(count - 1, _DRAWS)), _CONFIDENCE) * error
    mean = float(values.mean())
    return mean, mean - float(reach), mean + float(reach)


def train_folds(
    data: str | Path, recipe: Recipe, folds: int, options: RunOptions, *, console: Console | None = None
) -> Folds:
    """Train on all but one of ``folds`` parts of train and val, and evaluate on that one, for each; test is not used.

    Groups stay together and classes are divided as ``boxwright.read_dataset`` divides them. Each fold is a run of its
    own below ``options.out`` (default runs/<data set>-<recipe>-folds), without validation: the last weights are the
    model. Finished folds are not trained again, and a stopped training continues. folds.json has the scores.

    Raises:
        DataError: As ``boxwright.train``.
        RecipeError: As ``boxwright.train``; also if there are fewer groups than folds.
        WriteError: As ``boxwright.train``.
    """
    from boxwright.runs.assess import evaluate_run

    console = console or Console()
    root = Path(data)
    folder = options.out or Path("runs") / f"{folder_name(root)}-{recipe.detector}-folds"
    names = _names_by_fold(root, recipe, options, folds)
    found = []
    with taken_folder(folder, "cross-validation", ["folds.json"], "folds.lock"):
        for fold, held_out in enumerate(names):
            say(console, f"fold {fold + 1} of {folds}", "bold")
            rest = [name for other in names if other is not held_out for name in other]
            file = folder / f"fold-{fold + 1}.json"
            write_json(file, {"generator": GENERATOR, "splits": {"train": sorted(rest), "val": sorted(held_out)}})
            run = _train_fold(Run(folder / f"fold-{fold + 1}"), root, recipe, options, file, console)
            assessed = evaluate_run(
                run.folder, root, "val", allow_links=options.allow_links, split_file=file, device=options.device
            )
            numbers = assessed.metrics.numbers
            found.append({name: numbers[name] for name in SHOWN})
            say(console, f"fold {fold + 1}: AP {numbers['AP']:.3f}, AP50 {numbers['AP50']:.3f}")
        done = Folds(folder, tuple(map(len, names)), tuple(found))
        means = {name: dict(zip(("mean", "low", "high"), done.mean(name), strict=True)) for name in SHOWN}
        write_json(folder / "folds.json", {"generator": GENERATOR, "folds": folds, "scores": found, "means": means})
    return done


def _train_fold(run: Run, data: Path, recipe: Recipe, options: RunOptions, file: Path, console: Console) -> Run:
    given: dict[str, Any] = {**asdict(options), "split": "train", "val_split": None, "group_by": None}
    given |= {"out": run.folder, "split_file": str(file)}
    if run.last_checkpoint.is_file():
        return train(data, resume=run.folder, console=console)
    return train(data, recipe.replace(patience=0), console=console, **given)


def _names_by_fold(data: Path, recipe: Recipe, options: RunOptions, folds: int) -> list[list[str]]:
    """List the names of the images of each fold."""
    reading = recipe.reader_options
    known = {name: reading[name] for name in ("voc_one_based", "max_pixels", "reader")}
    source = open_with_splits(data, ReaderOptions(**known, **finding(options)))
    table = source.read(source.splits)
    parts = [table.splits[name] for name in ("train", "val") if name in table.splits]
    if not parts:
        raise DataError(f"{data}: folds are made of the splits train and val, and there is neither")
    rows = np.unique(np.concatenate(parts))
    rows = rows[table.there[rows]]
    groups = [rows[places].tolist() for places in grouped(table.root, [table.paths[r] for r in rows], options.group_by)]
    if not 2 <= folds <= len(groups):
        raise RecipeError(f"Expected --folds in 2..{len(groups)}, the groups of images there are, but got {folds}")
    table.splits = {str(fold): chosen for fold, chosen in enumerate(deal_out(table, groups, folds))}
    return list(split_names(table).values())
