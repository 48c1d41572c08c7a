"""Box-loss weights that make box losses comparable: equal gradients at the start.

Losses differ in scale: IoU losses lie in 0..1, smooth L1 on deltas in the tens. With one weight for all, a comparison
would tell which loss the weight suits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from boxwright.anchors import Anchors
from boxwright.criterion import DenseCriterion
from boxwright.data.loading import Batch
from boxwright.models import DenseDetector
from boxwright.types import DenseOutputs, Targets


def box_gradients(
    detector: DenseDetector, criteria: Mapping[str, DenseCriterion], batches: Iterable[Batch]
) -> dict[str, float]:
    """Measure the norm of each box term's gradient with respect to the deltas (B, A, D), mean over the batches.

    One forward a batch serves all criteria.
    """
    norms: dict[str, list[float]] = {name: [] for name in criteria}
    detector.train()
    for batch in batches:
        images, targets = batch.images.to(detector.device), batch.targets.to(detector.device)
        with torch.no_grad():
            outputs = detector(detector.normalize(images, batch.shown))
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
