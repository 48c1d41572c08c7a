"""The supervision of a recipe: its parts put together, tried before anything is trained, and applied to a batch."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from boxwright import losses
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.choices import parse_choice, resolve_choice
from boxwright.criterion import DenseCriterion, Losses
from boxwright.errors import RecipeError
from boxwright.losses import ClassWeighting
from boxwright.models.detector import Detector
from boxwright.models.faster_rcnn import TwoStageDetector
from boxwright.recipes import Recipe
from boxwright.two_stage import TwoStageCriterion
from boxwright.types import DenseOutputs, Targets, TwoStageOutputs


def supervise(
    detector: Detector,
    criterion: DenseCriterion | TwoStageCriterion,
    images: Tensor,
    targets: Targets,
    shown: Tensor | None = None,
) -> tuple[Losses, DenseOutputs | TwoStageOutputs]:
    """The losses of a batch, and the raw outputs that they are of: one forward pass.

    ``images`` (B, 3, H, W) in 0..255, of which the ``shown`` (B, 2) rows and columns show something; targets in pixels
    of these. Models never see the targets: of two stages, the criterion selects the regions that the second refines.
    """
    outputs = detector(detector.normalize(images, shown), shown)
    if isinstance(criterion, TwoStageCriterion) and isinstance(detector, TwoStageDetector):
        rois = criterion.select(outputs.proposals, targets)
        outputs = outputs._replace(rois=rois, refined=detector.refine(outputs.features, rois))
    return criterion(detector.anchors_of((images.shape[2], images.shape[3])), outputs, targets), outputs


def build_criterion(recipe: Recipe, counts: Tensor | None = None) -> DenseCriterion | TwoStageCriterion:
    """The supervision of a recipe; ``counts`` (K,) boxes of each class are what class weights of the data go by.

    Raises RecipeError where its parts don't go together, or an option is out of range.
    """
    classes = len(recipe.classes)
    shared = {"class_weights": _class_weights(recipe, counts), "background_weight": recipe.background_weight}
    criterion = _build_stage(recipe, classes, "", **shared)
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


def _build_stage(recipe: Recipe, classes: int, prefix: str, **weights: Any) -> DenseCriterion:
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
            **weights,
            coder=resolve_choice("coder", getattr(recipe, f"{prefix}coder"))(),  # type: ignore[misc]
            box_weight=getattr(recipe, f"{prefix}box_weight"),
            distribution_weight=recipe.distribution_weight,
            normalizer=getattr(recipe, f"{prefix}normalizer"),
            centreness_weights=recipe.centreness_weights,
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


def _class_weights(recipe: Recipe, counts: Tensor | None) -> Tensor | ClassWeighting | None:
    named = recipe.weights_by_name()
    if named:
        return torch.tensor([named.get(name, 1.0) for name in recipe.classes])
    scheme = next((known for known in get_args(ClassWeighting) if known == recipe.class_weights), None)
    if scheme is None or recipe.class_weights_over == "batch":
        return scheme
    return None if counts is None else losses.class_weights(counts, scheme)
