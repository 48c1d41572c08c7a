"""The criterion of a recipe: its parts put together, and tried before anything is trained."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from boxwright import losses
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.choices import parse_choice, resolve_choice
from boxwright.criterion import ClassWeights, DenseCriterion, TwoStageCriterion
from boxwright.errors import RecipeError
from boxwright.losses import ClassWeighting
from boxwright.recipes.recipe import Recipe
from boxwright.types import DenseOutputs, Targets


def build_criterion(recipe: Recipe, counts: Tensor | None = None) -> DenseCriterion | TwoStageCriterion:
    """The supervision of a recipe; ``counts`` (K,) boxes of each class are what class weights of the data go by.

    Raises RecipeError where its parts don't go together, or an option is out of range.
    """
    classes = len(recipe.classes)
    criterion = _build_stage(recipe, classes, "", _class_weights(recipe, counts))
    if recipe.detector != "faster-rcnn":
        return criterion
    if parse_choice("matcher", recipe.matcher)[0] != "iou":
        raise RecipeError(
            f"the regions of faster-rcnn lie on no grid: its matcher can't be {recipe.matcher}: choose matcher=iou"
        )
    try:
        return TwoStageCriterion(_build_stage(recipe, 1, "rpn_"), criterion)
    except RecipeError as error:
        raise RecipeError(f"first stage (rpn_...): {error}") from None


def _build_stage(
    recipe: Recipe, classes: int, prefix: str, class_weights: ClassWeights | None = None
) -> DenseCriterion:
    """The criterion of the keys that start with ``prefix``, tried on one object."""
    parts: dict[str, Any] = {
        name: resolve_choice(name, getattr(recipe, prefix + name))
        for name in ("matcher", "miner", "class_loss", "box_loss")
    }
    if parts["box_loss"].func is losses.mpdiou_loss:  # its unit is the input's size
        parts["box_loss"] = partial(
            parts["box_loss"], **{"image_size": recipe.image_size, **parts["box_loss"].keywords}
        )
    if parts["miner"] is not None and "nms_iou" in parts["miner"].keywords:
        raise RecipeError("ohem's nms_iou needs boxes, which a recipe doesn't give: use it from Python")
    try:
        criterion = DenseCriterion(
            **parts,
            class_weights=class_weights,
            coder=resolve_choice("coder", getattr(recipe, f"{prefix}coder"))(),  # type: ignore[misc]
            box_weight=getattr(recipe, f"{prefix}box_weight"),
            distribution_weight=recipe.distribution_weight,
            normalizer=getattr(recipe, f"{prefix}normalizer"),
            centerness_weights=recipe.centreness_weights,
            num_classes=classes,
        )
        _try(criterion, classes)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    return criterion


@torch.no_grad()
def _try(criterion: DenseCriterion, classes: int) -> None:
    """One object on one anchor: options that are out of range are told now, and not at the first step."""
    anchors = make_anchors(AnchorSpec.squares((8,), 1.0), 8)
    columns = classes + (criterion.class_info.kind == "softmax")
    outputs = DenseOutputs(torch.zeros(1, 1, columns), torch.zeros(1, 1, criterion.coder.size))
    targets = Targets(anchors.boxes[None], torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool))
    criterion.eval()(anchors, outputs, targets)  # in evaluation, which changes no state
    criterion.train()


def _class_weights(recipe: Recipe, counts: Tensor | None) -> ClassWeights | None:
    weights: Tensor | ClassWeighting | None = None
    if named := recipe.weights_by_name():
        weights = torch.tensor([named.get(name, 1.0) for name in recipe.classes])
    elif recipe.class_weights != "none":
        scheme = next(known for known in get_args(ClassWeighting) if known == recipe.class_weights)
        if recipe.class_weights_over == "batch":
            weights = scheme
        elif counts is not None:
            weights = losses.class_weights(counts, scheme)
    if weights is None and recipe.background_weight == 1:
        return None
    return ClassWeights(weights, recipe.background_weight)
