"""The supervision of a recipe: its parts put together, and tried before anything is trained."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from boxwright import losses
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.choices import resolve_choice
from boxwright.criterion import DenseCriterion
from boxwright.errors import RecipeError
from boxwright.losses import ClassWeighting
from boxwright.recipes import Recipe
from boxwright.types import DenseOutputs, Targets


def build_criterion(recipe: Recipe, counts: Tensor | None = None) -> DenseCriterion:
    """The supervision of a recipe; ``counts`` (K,) boxes of each class are what class weights of the data go by.

    Raises RecipeError where its parts don't go together, or an option is out of range.
    """
    parts: dict[str, Any] = {
        name: resolve_choice(name, getattr(recipe, name)) for name in ("matcher", "miner", "class_loss", "box_loss")
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
            coder=resolve_choice("coder", recipe.coder)(),  # type: ignore[misc]
            box_weight=recipe.box_weight,
            distribution_weight=recipe.distribution_weight,
            normalizer=recipe.normalizer,
            class_weights=_class_weights(recipe, counts),
            background_weight=recipe.background_weight,
            num_classes=len(recipe.classes),
        )
        _try(criterion, len(recipe.classes))
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


def _class_weights(recipe: Recipe, counts: Tensor | None) -> Tensor | ClassWeighting | None:
    named = recipe.weights_by_name()
    if named:
        return torch.tensor([named.get(name, 1.0) for name in recipe.classes])
    scheme = next((known for known in get_args(ClassWeighting) if known == recipe.class_weights), None)
    if scheme is None or recipe.class_weights_over == "batch":
        return scheme
    return None if counts is None else losses.class_weights(counts, scheme)
