"""Box-loss weights that make box losses comparable: equal gradients at the start.

Losses differ in scale: IoU losses are in 0..1, smooth L1 on deltas in the tens. With one weight for all, a comparison
would show which loss the weight suits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import lightning as L
import numpy as np
import torch

from boxwright.anchors import Anchors
from boxwright.compare.plan.study import Setting
from boxwright.criterion import DenseCriterion
from boxwright.data.loading import Batch
from boxwright.errors import RecipeError
from boxwright.models import DenseDetector, build_detector
from boxwright.recipes.criterion import build_criterion
from boxwright.training.batches import Batches
from boxwright.types import DenseOutputs, Targets

_SAME = "The box loss is the same in all arms, and its weight is the recipe's."


def weigh_box_losses(setting: Setting, batches: Batches) -> tuple[dict[str, float], str]:
    """Weight the arms whose box loss is not the baseline's, and describe how the weights were found."""
    baseline = setting.baseline
    alike = [arm.name for arm in setting.arms if not arm.other_recipe]  # others have the weight that their recipe gives
    losses = {name: setting.recipes[name].box_loss for name in alike}
    losses = {name: loss for name, loss in losses.items() if loss != baseline.box_loss}
    if not losses:
        return {}, "The weight of each arm's box loss is its recipe's." if len(alike) < len(setting.arms) else _SAME
    if setting.options.box_weights == "fixed" or setting.weight_given:
        return {}, "Box weights are fixed by the user."
    counts = torch.from_numpy(np.bincount(setting.training.labels, minlength=len(setting.training.classes)))
    L.seed_everything(0, verbose=False)
    detector, first = build_detector(baseline), build_criterion(baseline, counts)
    if not isinstance(detector, DenseDetector) or not isinstance(first, DenseCriterion):
        return {}, f"Box weights are the recipe's: {baseline.detector} has more than one box loss to equalize."
    criteria = {baseline.box_loss: first}
    for loss in losses.values():
        try:
            other = build_criterion(baseline.replace(box_loss=loss, box_weight=first.box_weight), counts)
        except RecipeError:
            continue  # there is no such loss with the baseline's coder
        if isinstance(other, DenseCriterion):
            criteria[loss] = other
    gradients = box_gradients(detector, criteria, batches.training)
    weights = equal_weights(gradients, baseline.box_loss, first.box_weight)
    left = sorted(set(losses.values()) - weights.keys())
    by = "Box weights are equalized: each box loss's gradient has the norm of the baseline's at the start."
    if left:
        by += (
            f" Not so {' and '.join(left)}: not comparable with the baseline's gradient, their weight is the recipe's."
        )
    return {name: weights[loss] for name, loss in losses.items() if loss in weights}, by


def box_gradients(
    detector: DenseDetector, criteria: Mapping[str, DenseCriterion], batches: Iterable[Batch]
) -> dict[str, float]:
    """Measure the norm of each box term's gradient with respect to the deltas (B, A, D), mean over the batches.

    One forward pass per batch serves all criteria.
    """
    norms: dict[str, list[float]] = {name: [] for name in criteria}
    detector.train()
    for batch in batches:
        images, targets = batch.images.to(detector.device), batch.targets.to(detector.device)
        with torch.no_grad():
            outputs = detector(detector.normalize(images, batch.valid_size))
        anchors = detector.anchors_of((images.shape[2], images.shape[3]))
        for name, criterion in criteria.items():
            norms[name].append(_norm(anchors, criterion, outputs, targets))
    return {name: sum(values) / len(values) for name, values in norms.items()}


def _norm(anchors: Anchors, criterion: DenseCriterion, outputs: DenseOutputs, targets: Targets) -> float:
    deltas = outputs.deltas.detach().float().requires_grad_()
    losses = criterion(anchors, outputs._replace(deltas=deltas), targets)
    (gradient,) = torch.autograd.grad(losses.box, deltas, allow_unused=True, materialize_grads=True)
    return float(gradient.norm())


def equal_weights(gradients: Mapping[str, float], baseline: str, weight: float) -> dict[str, float]:
    """Weight each box loss so that its gradient, measured at the same ``weight``, becomes the baseline's.

    To four digits; losses without a gradient are missing.
    """
    return {
        name: float(f"{weight * gradients[baseline] / norm:.4g}")
        for name, norm in gradients.items()
        if norm > 0 and gradients[baseline] > 0
    }
