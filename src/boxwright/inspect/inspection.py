"""The complete supervision of a data set under a recipe: objects, alternative anchors, and images anchor by anchor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from boxwright._util.notebook import html_table, paragraphs
from boxwright.criterion import DenseCriterion
from boxwright.data import DetectionDataset
from boxwright.errors import RecipeError
from boxwright.inspect.advice import advice
from boxwright.inspect.coverage import by_class, headline, percent
from boxwright.inspect.examples import Examiner, Example
from boxwright.inspect.losses import Trained
from boxwright.inspect.suggest import Suggestion, suggest_anchors
from boxwright.inspect.supervision import Advance, Supervision, examine
from boxwright.models import DenseDetector, TwoStageDetector, build_detector
from boxwright.recipes import Recipe, get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.recipes.fit import decide
from boxwright.runs import Run

EXAMPLES = 24


@dataclass(frozen=True)
class Inspection:
    """The result of ``inspect_supervision``."""

    dataset: DetectionDataset
    recipe: Recipe
    run: Run | None
    supervision: Supervision
    """Supervision of every object, as arrays."""
    suggestion: Suggestion
    examples: list[Example]

    @property
    def headline(self) -> str:
        """The result in one line."""
        return headline(self.supervision)

    @property
    def advice(self) -> str:
        """Advice on what to change, in one line."""
        return advice(self.supervision, self.recipe, self.suggestion)

    def _repr_html_(self) -> str:
        rows = [
            [each.name, f"{each.objects}", f"{each.best_iou:.2f}", f"{each.positives:.1f}", percent(each.unmatched)]
            for each in by_class(self.supervision, self.dataset.classes)
            if each.objects
        ]
        head = ("class", "objects", "median best IoU", "anchors an object", "without anchor")
        return paragraphs(self.headline, self.advice) + html_table(head, rows)

    @property
    def has_losses(self) -> bool:
        """Whether the examples have the losses of a run's model."""
        return any(example.costs is not None for example in self.examples)


def inspect_supervision(
    dataset: DetectionDataset,
    recipe: Recipe | str | Path = "lite320",
    run: Run | str | Path | None = None,
    *,
    examples: int = EXAMPLES,
    advance: Advance = lambda done, total: None,
) -> Inspection:
    """Show what a recipe's anchors and matcher give each object, after the resize and without augmentation.

    With a ``run`` its recipe is used, ``recipe`` is ignored, and the losses of the examples are its model's. The
    examples are the images with the most objects without an anchor, then those with the highest loss, tried on at most
    500 images spread over the data set (without a run: with the worst best IoU). For two stages the first one's
    matching is shown; its matcher is then the ``matcher`` of the returned recipe, without losses. ``advance`` is called
    with the number done and the total of each part of the work.

    Raises:
        RecipeError: If the matcher depends on predictions, inputs may have any size, or the data set's classes are not
            the run's.
    """
    if run is not None:
        run = run if isinstance(run, Run) else Run.of(run)
        detector = run.load()
        if detector.classes != dataset.classes:
            raise RecipeError(f"{run.folder} knows the classes {detector.classes}, the data set {dataset.classes}")
    else:
        chosen = recipe if isinstance(recipe, Recipe) else get_recipe(recipe)
        detector = build_detector(decide(chosen, dataset)[0].replace(classes=dataset.classes), pretrained=False)
    recipe = detector.recipe
    if recipe.resize == "shortest":
        raise RecipeError(
            "inspect shows the anchors of inputs of one size, not those of resize=shortest: --set resize=pad shows "
            "them in a square, and --inputs what the network gets"
        )
    if isinstance(detector, TwoStageDetector):
        recipe = recipe.replace(matcher=recipe.rpn_matcher)
    supervision = examine(dataset, recipe, detector.anchors, advance)
    suggestion = suggest_anchors(dataset, recipe, supervision, advance)
    trained = _trained(detector, dataset) if run is not None and isinstance(detector, DenseDetector) else None
    examiner = Examiner(dataset, recipe, supervision, trained)
    shown = examiner.show(examiner.choose(examples, advance)) if examples and dataset.has_images else []
    return Inspection(dataset, recipe, run, supervision, suggestion, shown)


def _trained(detector: DenseDetector, dataset: DetectionDataset) -> Trained:
    counts = torch.from_numpy(np.bincount(dataset.labels, minlength=len(dataset.classes)))
    criterion = build_criterion(detector.recipe, counts)
    assert isinstance(criterion, DenseCriterion)  # because the detector is dense
    return Trained(detector.eval(), criterion.eval())
