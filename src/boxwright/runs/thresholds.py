"""thresholds.json: the scores by class that ``predict`` uses, and the validation that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.ownership import GENERATOR
from boxwright._util.writing import json_bytes, write_bytes
from boxwright.errors import RecipeError
from boxwright.evaluate.thresholds import LEAST_OBJECTS, ClassThreshold, Ends, Thresholds, Wish, read_wish
from boxwright.runtime.backends import is_model_file
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset
    from boxwright.models.detector import Detector, Score
    from boxwright.recipes import Recipe
    from boxwright.runs.exported import ExportedModel

_NAMED = 12
"""Classes that a line names at most."""
_CURE = ": remove it, and predict uses the recipe's score"


def write_thresholds(path: Path, thresholds: Thresholds) -> None:
    """Write them as a whole. Raises WriteError."""
    write_bytes(path, json_bytes({"generator": GENERATOR, **asdict(thresholds)}) + b"\n")


def read_thresholds(path: Path, classes: Sequence[str]) -> Thresholds:
    """Read a file's thresholds. Raises RecipeError if it is damaged or made for other ``classes``."""
    return _checked(read_own_json(path, _CURE), classes, path, _CURE)


def thresholds_in(checkpoint: Mapping[str, Any], classes: Sequence[str], path: Path) -> Thresholds | None:
    """Read a checkpoint's thresholds; None if it wasn't validated. Raises as ``read_thresholds``."""
    content = checkpoint.get("thresholds")
    return None if content is None else _checked(content, classes, path, "")


def _checked(content: Any, classes: Sequence[str], path: Path, cure: str) -> Thresholds:
    found = typed(content, Thresholds, path, cure)
    if tuple(found.classes) != tuple(classes):
        raise RecipeError(f"{path} has the classes {', '.join(found.classes)}, the model {', '.join(classes)}{cure}")
    return found


def said(thresholds: Thresholds) -> str:
    """Describe in one line which detections are kept if no score is given."""
    if not thresholds.images:
        return f"predict keeps scores above {thresholds.all_classes.score:g}, the recipe's: no validation told others"
    parts = [f"{name} {each.score:.3f}{_instead(each)}" for name, each in thresholds.classes.items()]
    if len(parts) > _NAMED:
        own = [each.score for each in thresholds.classes.values() if each.source == "class"]
        others = [each for each in thresholds.classes.values() if each.source != "class"]
        parts = [f"{min(own):.3f} to {max(own):.3f} by class"] if own else []
        parts += [f"{others[0].score:.3f} for {plural(len(others), 'class')} of few objects"] if others else []
    return f"predict keeps scores above {', '.join(parts)}: the best F1 on {_where(thresholds)}"


def expectations(thresholds: Thresholds, wish: Wish) -> Iterator[str]:
    """Describe what to expect of each class for a wish, one line per class."""
    yield f"for {wish} expect what {_where(thresholds)} had, with 95 % intervals over images:"
    for name, each in thresholds.expected(wish).items():
        measures = f"precision {_measure(each.precision, each.precision_interval)}"
        measures += f", recall {_measure(each.recall, each.recall_interval)}"
        few = f" (by all classes together: {_objects(thresholds.classes[name])})" if each.source != "class" else ""
        missed = "" if each.reached else f"; {wish} is out of reach, this is the nearest"
        yield f"{name}: score {each.score:.3f}, {measures}{few}{missed}"


def check_as_predicted(run: str | Path, recipe: Recipe, dataset: DetectionDataset, suppressed: bool) -> None:
    """Raise RecipeError where detections wouldn't be those that the run's thresholds are for."""
    why = ""
    if not Path(run).is_dir() or is_model_file(Path(run)):
        why = f"are for a run folder, and {run} is a file in one"
    elif dataset.classes != recipe.classes:
        why = f"are for all classes of the model, {', '.join(recipe.classes)}: leave out --classes"
    elif suppressed:
        why = "are for the recipe's NMS: leave out --nms"
    if why:
        raise RecipeError(f"--save-thresholds: thresholds {why}")


def scores_said(detector: Detector | ExportedModel, score: Score | None) -> Iterator[str]:
    """Describe the scores by which the thresholds keep detections; empty where they aren't used."""
    thresholds, min_scores = detector.thresholds, detector.min_scores(score)
    if thresholds is not None and score is None and min_scores == thresholds.scores:
        yield said(thresholds)
    elif thresholds is not None and isinstance(score, str):
        yield from expectations(thresholds, read_wish(score))


def _instead(each: ClassThreshold) -> str:
    words = {"class": "", "all classes": "all classes together", "recipe": "the recipe's"}[each.source]
    return f" ({words}: {_objects(each)})" if words else ""


def _objects(each: ClassThreshold) -> str:
    return plural(each.objects, "object") + (", none found" if each.objects >= LEAST_OBJECTS else "")


def _where(thresholds: Thresholds) -> str:
    return f"{thresholds.split or 'the data'} ({plural(thresholds.images, 'image')})"


def _measure(value: float, interval: Ends) -> str:
    low, high = interval
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
