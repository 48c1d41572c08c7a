"""A model file in place of a run: it predicts, and results are kept in a folder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from boxwright._util.own_files import typed
from boxwright.data.inputs import Input
from boxwright.data.splits import SPLIT_FILE
from boxwright.errors import RecipeError
from boxwright.evaluate.thresholds import Thresholds, min_scores
from boxwright.recipes import Recipe, base_recipe
from boxwright.runs.run import Run, load
from boxwright.runtime.backends import is_model_file
from boxwright.runtime.predictor import Predictor
from boxwright.runtime.selection import SelectionRule

if TYPE_CHECKING:
    import torch

    from boxwright.environment import Device
    from boxwright.models.detector import Detector, InferencePrecision, Score
    from boxwright.nms import NmsKind
    from boxwright.types import Detections


@dataclass(frozen=True)
class ExportedRun(Run):
    """A model file as the run that it was exported from; ``folder`` is where commands write."""

    model: Path = Path()

    @classmethod
    def of_file(cls, model: Path) -> Self:
        """Make the run of a model file: model.onnx writes into model-onnx, a folder into itself."""
        return cls(model if model.is_dir() else model.with_name(f"{model.stem}-{model.suffix[1:]}"), model)

    @cached_property
    def predictor(self) -> Predictor:
        """The model in memory. Raises RecipeError where the file is damaged or somebody else's."""
        return Predictor(self.model)

    @property
    def recipe_file(self) -> Path:
        """The model file, which holds the recipe."""
        return self.predictor.backend.files[0]

    @property
    def model_file(self) -> Path:
        """The file that holds the network."""
        return self.predictor.backend.files[0]

    @property
    def recipe(self) -> Recipe:
        """The recipe in the file's metadata."""
        values = self.predictor.metadata.get("recipe") or {}
        try:
            return base_recipe(values["detector"]).replace(**values)
        except (RecipeError, TypeError, KeyError) as error:
            raise RecipeError(f"{self.model} has a recipe that can't be read: {error}") from None

    @property
    def thresholds(self) -> Thresholds | None:
        """The score thresholds by class in the file's metadata; None: there are none."""
        content = self.predictor.metadata.get("validation")
        return None if content is None else typed(content, Thresholds, self.model)

    @property
    def record(self) -> dict[str, Any]:
        """Facts of the training data in the metadata; the rest is empty."""
        data = self.predictor.metadata.get("data") or {}
        origin = {"fingerprint": data["fingerprint"]} if data.get("fingerprint") else {}
        return {"data": {}, "training": {}, "origin": origin}

    @property
    def split_file(self) -> Path:
        """The split beside the model file."""
        return self.model.parent / SPLIT_FILE

    @property
    def files(self) -> tuple[Path, ...]:
        """The model's files and the split."""
        return (*self.predictor.backend.files, self.split_file)


class ExportedModel:
    """A model file with what prediction asks of a detector."""

    def __init__(self, run: ExportedRun) -> None:
        self._predictor = run.predictor
        self.thresholds = run.thresholds
        self.recipe = run.recipe

    @property
    def recipe(self) -> Recipe:
        """Recipe that it detects by."""
        return self._recipe

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self._recipe = recipe
        selection = SelectionRule.of(recipe.to_dict())
        self._predictor.facts = replace(self._predictor.facts, input=recipe.input_rule, selection=selection)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self._predictor.classes

    @property
    def device(self) -> torch.device:
        """The processor."""
        import torch

        return torch.device("cpu")

    def min_scores(self, score: Score | None = None) -> float | Sequence[float]:
        """Return the scores above which detections are kept, by default the file's. Raises as a detector's."""
        return list(self._predictor.facts.min_scores) if score is None else min_scores(score, self.thresholds)

    def on(self, device: Device, precision: InferencePrecision) -> Self:
        """Return the model itself. Raises RecipeError for any device but the CPU and any other precision."""
        if device not in ("auto", "cpu"):
            raise RecipeError(f"a model file computes on the processor: leave out --device {device}")
        if precision != "float32":
            raise RecipeError(f"a model file computes as it was exported: leave out --precision {precision}")
        return self

    def prepare(self, image: Any) -> Input:
        """Read an image at the size of the network's input. Raises as a detector's."""
        return self._predictor.prepare(image)

    def predict_inputs(
        self, inputs: Sequence[Input], score: Score | None = None, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Detections of inputs of one size, in pixels of their images."""
        import torch

        from boxwright.types import Detections

        min_scores = self.min_scores(score)
        found = self._predictor.predict_inputs(inputs, min_scores, nms)
        return [Detections(*map(torch.from_numpy, each)) for each in found]

    def digest(self) -> str:
        """Hash the bytes of its files."""
        whole = sha256()
        for path in self._predictor.backend.files:
            with path.open("rb") as file:
                whole.update(file_digest(file, "sha256").digest())
        return whole.hexdigest()


def load_model(run: str | Path) -> Detector | ExportedModel:
    """Load the detector of a run, or a model file. Raises RecipeError as both do."""
    return ExportedModel(ExportedRun.of_file(Path(run))) if is_model_file(Path(run)) else load(run)
