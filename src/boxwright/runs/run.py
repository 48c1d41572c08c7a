"""A run folder and the files in it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boxwright._util.naming import file_stem
from boxwright._util.writing import write_errors
from boxwright.data.splits import SPLIT_FILE
from boxwright.errors import RecipeError
from boxwright.own_code import import_code
from boxwright.runs.hub import fetch_snapshot, hub_address
from boxwright.runtime.backends import is_model_file

if TYPE_CHECKING:
    from torch import Tensor

    from boxwright.evaluate.thresholds import Thresholds
    from boxwright.models.detector import Detector
    from boxwright.recipes import Recipe


@dataclass(frozen=True)
class Run:
    """A run folder and the files in it."""

    folder: Path

    @classmethod
    def of(cls, run_or_checkpoint: str | Path) -> Run:
        """Find the run of a folder or of a file in it, or open a model file. Raises RecipeError for anything else."""
        path = Path(run_or_checkpoint)
        if not path.exists():
            raise RecipeError(f"no run or model at {path}")
        if is_model_file(path):
            from boxwright.runs.exported import ExportedRun

            return ExportedRun.of_file(path)
        return cls(path if path.is_dir() else path.parent)

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe, class names included."""
        return self.folder / "recipe.yaml"

    @property
    def recipe(self) -> Recipe:
        """The content of recipe.yaml. Raises RecipeError where there is none, or it is damaged."""
        from boxwright.recipes import get_recipe

        if not self.recipe_file.is_file():
            raise RecipeError(f"{self.folder} is no run folder: it has no {self.recipe_file.name}")
        return get_recipe(self.recipe_file)

    @property
    def model_file(self) -> Path:
        """The weights to use: the best by validation AP, or the last where there was no validation."""
        return self.folder / "model.safetensors"

    @property
    def thresholds_file(self) -> Path:
        """The scores by class that ``predict`` uses; absent for a model that boxwright didn't train."""
        return self.folder / "thresholds.json"

    @property
    def thresholds(self) -> Thresholds | None:
        """The content of thresholds.json; None if there is none.

        Raises RecipeError where it is damaged, or of other classes than the recipe.
        """
        from boxwright.runs.thresholds import read_thresholds

        path = self.thresholds_file
        return read_thresholds(path, self.recipe.classes) if os.path.lexists(path) else None

    @property
    def best_checkpoint(self) -> Path:
        """The state of the training with the best validation AP; absent without validation."""
        return self.folder / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        """The state of the training from which a resumed run continues."""
        return self.folder / "last.ckpt"

    @property
    def data_file(self) -> Path:
        """File of the data that was read, with the check's findings and the environment."""
        return self.folder / "data.json"

    @property
    def record(self) -> dict[str, Any]:
        """The content of data.json: ``data``, ``training`` and ``origin``, all empty for an imported run.

        Raises RecipeError where the file is damaged.
        """
        from boxwright.runs.record import read_record

        return read_record(self.data_file) if self.data_file.exists() else {"data": {}, "training": {}, "origin": {}}

    @property
    def lock_file(self) -> Path:
        """File that the process that writes the run holds locked."""
        return self.folder / "run.lock"

    @property
    def split_file(self) -> Path:
        """The images of each split, where the data has no splits of its own or others were asked for."""
        return self.folder / SPLIT_FILE

    @property
    def metrics_file(self) -> Path:
        """Loss terms by step, metrics by epoch."""
        return self.folder / "metrics.csv"

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that make the run, which no later command replaces."""
        checkpoints = (self.best_checkpoint, self.last_checkpoint)
        model = (self.recipe_file, self.model_file, self.thresholds_file)
        return (*model, *checkpoints, self.data_file, self.split_file, self.metrics_file)

    @property
    def predictions(self) -> Path:
        """Folder of results JSONs and drawn images."""
        return self.folder / "predictions"

    def results_file(self, split: str | None) -> Path:
        """Return the file of the detections on a split, or on a whole data set."""
        return self.predictions / f"{file_stem(split or 'all')}.json"

    @property
    def figures(self) -> Path:
        """Folder of what ``eval`` measured, a JSON of each split."""
        return self.folder / "figures"

    def figures_file(self, split: str | None) -> Path:
        """Return the path of the metrics on a split, or on a whole data set."""
        return self.figures / f"{file_stem(split or 'all')}.json"

    def report_file(self, split: str | None = "test") -> Path:
        """Return the page that shows the run on a split: report.html on test, report-val.html on val."""
        return self.folder / ("report.html" if split == "test" else f"report-{file_stem(split or 'all')}.html")

    def keep(self, detector: Detector, *, origin: str = "", license: str = "") -> None:
        """Write recipe.yaml and model.safetensors, which are enough to load the detector again, and its thresholds.

        ``origin`` and ``license``, those of the weights that it started from, stand in the model too. Thresholds of a
        model that was there before go. Raises WriteError.
        """
        from boxwright.runs.thresholds import write_thresholds
        from boxwright.runs.weights import write_weights

        known = {"origin": origin, "license": license}
        metadata = {"classes": json.dumps(detector.classes), **{key: text for key, text in known.items() if text}}
        with write_errors(self.thresholds_file):
            self.thresholds_file.unlink(missing_ok=True)
        detector.recipe.save(self.recipe_file)
        write_weights(self.model_file, detector.state_dict(), metadata)
        if detector.thresholds is not None:
            write_thresholds(self.thresholds_file, detector.thresholds)

    def load(self) -> Detector:
        """Load the detector, ready for ``predict``."""
        return load(self.folder)


def load(run_or_checkpoint: str | Path, allow_code: Sequence[str] | str = ()) -> Detector:
    """Load the detector of a run folder, or of a model.safetensors or .ckpt next to its recipe.yaml.

    It has the run's thresholds, or those of a checkpoint that was written after a validation. hf://user/name[@revision]
    is a run on the Hugging Face Hub: its recipe, thresholds, weights and card are fetched into the Hub's cache.

    Args:
        run_or_checkpoint: The folder or the file.
        allow_code: Modules of your own parts, named by the recipe, that prediction needs, such as a coder or backbone;
            no others are ever imported.

    Raises:
        RecipeError: If a module is missing, either file is missing or damaged, or they do not belong together.

    Examples:
        >>> detector = bw.load("runs/data-lite320")  # doctest: +SKIP
        >>> [found] = detector.predict(["photo.jpg"], score=0.5)  # doctest: +SKIP
    """
    import_code(allow_code)
    if is_model_file(Path(run_or_checkpoint)):
        raise RecipeError(f"{run_or_checkpoint} is an exported model, which boxwright.runtime.Predictor opens")
    address = hub_address(run_or_checkpoint)
    path = Path(run_or_checkpoint) if address is None else fetch_snapshot(address)
    run = Run.of(path)
    weights = run.model_file if path.is_dir() else path
    for needed in (run.recipe_file, weights):
        if not needed.is_file():
            raise RecipeError(f"{path} is no run folder: it has no {needed.name}")

    from boxwright.models import build_detector

    detector = build_detector(run.recipe, pretrained=False)
    state, detector.thresholds = read_model(run, weights)
    try:
        detector.load_state_dict(state)
    except RuntimeError as error:
        raise RecipeError(f"{weights} does not fit {run.recipe_file}: {str(error).splitlines()[0]}") from None
    return detector.eval()


def read_model(run: Run, path: Path) -> tuple[dict[str, Tensor], Thresholds | None]:
    """Read the detector's tensors in a model.safetensors, or the averaged ones in a checkpoint, and their thresholds.

    Raises RecipeError.
    """
    from boxwright.runs.checkpoints import read_checkpoint
    from boxwright.runs.thresholds import thresholds_in
    from boxwright.runs.weights import read_weights

    if path.suffix != ".ckpt":
        thresholds = run.thresholds if path == run.model_file else None
        try:
            return read_weights(path), thresholds
        except RecipeError as error:
            best = run.best_checkpoint
            cure = f"; {best} can be used in its place" if path == run.model_file and best.is_file() else ""
            raise RecipeError(f"{error}{cure}") from None
    content = read_checkpoint(path)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise RecipeError(f"{path} holds no model: it has no state_dict")
    tensors = {str(name).removeprefix("detector."): value for name, value in state.items()}
    return tensors, thresholds_in(content, run.recipe.classes, path)
