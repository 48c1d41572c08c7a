"""The criterion of a recipe: its parts put together, and tried before any training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boxwright import losses
from boxwright._util.tracebacks import described, raised_in
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.choices import is_own, resolve_choice
from boxwright.criterion import ClassWeights, DenseCriterion, TwoStageCriterion
from boxwright.criterion.class_weights import Counted, WeightRule
from boxwright.criterion.returned import check_indices
from boxwright.errors import RecipeError
from boxwright.parts import name_of, part_info
from boxwright.recipes.builtin import find_detector
from boxwright.recipes.class_weights import scheme_of
from boxwright.recipes.recipe import Recipe
from boxwright.types import DenseOutputs, Targets

_PACKAGE = Path(losses.__file__).parents[1]


def build_criterion(recipe: Recipe, counts: Tensor | None = None) -> DenseCriterion | TwoStageCriterion:
    """Build the supervision of a recipe; class weights may depend on ``counts`` (K,), the boxes of each class.

    Raises:
        RecipeError: If its parts do not fit together, or an option is out of range.
    """
    classes = len(recipe.classes)
    criterion = _build_stage(recipe, classes, "", counts)
    if recipe.activation not in (None, criterion.class_info.kind):
        raise RecipeError(
            f"Expected activation={criterion.class_info.kind}, as class_loss={recipe.class_loss} declares, but got "
            f"{recipe.activation}"
        )
    if not find_detector(recipe.detector).two_stage:
        return criterion
    if needs := criterion.matcher_info.needs:
        raise RecipeError(
            f"the regions of {recipe.detector} have no {' and no '.join(needs)}, which the matcher "
            f"{recipe.matcher} needs: choose matcher=iou"
        )
    try:
        return TwoStageCriterion(_build_stage(recipe, 1, "rpn_", None), criterion)
    except RecipeError as error:
        raise RecipeError(f"first stage (rpn_...): {error}") from None


def _build_stage(recipe: Recipe, classes: int, prefix: str, counts: Tensor | None) -> DenseCriterion:
    """Build the criterion of the keys that start with ``prefix``, and try it on a few objects."""
    texts = {role: getattr(recipe, prefix + role) for role in ("matcher", "miner", "class_loss", "box_loss", "coder")}
    given = {"image_size": recipe.image_size, "class_counts": counts}
    parts: dict[str, Any] = {role: _bound(resolve_choice(role, text), given) for role, text in texts.items()}
    try:
        criterion = DenseCriterion(
            **{**parts, "coder": parts["coder"]()},
            class_weights=None if prefix else _class_weights(recipe, counts),
            box_weight=getattr(recipe, f"{prefix}box_weight"),
            distribution_weight=recipe.distribution_weight,
            normalizer=getattr(recipe, f"{prefix}normalizer"),
            centerness_weights=recipe.centerness_weights,
            num_classes=classes,
        )
        _try(criterion, classes)
    except Exception as error:
        own = [text for role, text in texts.items() if is_own(role, text)]
        if isinstance(error, ValueError) and (not own or raised_in(error, _PACKAGE)):
            raise RecipeError(str(error)) from None
        if not own:
            raise
        raise RecipeError(f"{' and '.join(own)}, tried on three objects: {described(error)}") from error
    return criterion


def _bound(part: Any, given: Mapping[str, Any]) -> Any:
    """Bind what a part declares to need and nothing else has set."""
    info = None if part is None else part_info(part)
    missing = {need: given[need] for need in getattr(info, "needs", ()) if need in given}
    return partial(part, **{**missing, **part.keywords}) if missing else part


@torch.no_grad()
def _try(criterion: DenseCriterion, classes: int) -> None:
    """Try the criterion on three objects of two images, so that what is wrong fails before the training starts."""
    anchors = make_anchors(AnchorSpec.squares((8,), 1.0), 16)
    outputs = DenseOutputs(torch.zeros(2, 4, classes + criterion.background), torch.zeros(2, 4, criterion.coder.dim))
    boxes = anchors.boxes[[0, 3, 1, 1]].view(2, 2, 4)
    labels = torch.tensor([[0, classes - 1], [0, -1]])
    targets = Targets(boxes, labels, torch.zeros(2, 2, dtype=torch.bool))
    criterion.eval()
    decoded = criterion.coder.decode(anchors.boxes, outputs.deltas[0])
    if decoded.shape != (4, 4):
        raise ValueError(
            f"Expected {name_of(criterion.coder)} to decode boxes (4, 4) of four anchors but got {tuple(decoded.shape)}"
        )
    matches = criterion.match(anchors, anchors.boxes, outputs, targets)
    check_indices(matches, criterion.matcher, labels)
    criterion(anchors, outputs, targets, matches)  # evaluation mode changes no state
    criterion.train()


def _class_weights(recipe: Recipe, counts: Tensor | None) -> ClassWeights | None:
    if named := recipe.weights_by_name():
        fixed = torch.tensor([named.get(name, 1.0) for name in recipe.classes])
        return ClassWeights(fixed, recipe.background_weight)
    if scheme := scheme_of(recipe.class_weights):
        name, options = scheme
        rule: WeightRule = partial(losses.class_weights, scheme=name, **options)  # type: ignore[arg-type]
        if recipe.class_weights_over != "data":
            over: Counted = "samples" if recipe.class_weights_over == "samples" else "positives"
            return ClassWeights(rule, recipe.background_weight, over)
        if counts is not None:
            return ClassWeights(rule(counts), recipe.background_weight)
    return None if recipe.background_weight == 1 else ClassWeights(None, recipe.background_weight)
