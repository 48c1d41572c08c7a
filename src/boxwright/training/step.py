"""One forward pass under a criterion."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from boxwright.criterion import Losses
from boxwright.errors import RecipeError
from boxwright.models import Detector, TwoStageDetector
from boxwright.parts import name_of
from boxwright.types import DenseOutputs, Targets, TwoStageOutputs


def supervise(
    detector: Detector,
    criterion: nn.Module,
    images: Tensor,
    targets: Targets,
    valid_size: Tensor | None = None,
) -> tuple[Losses, DenseOutputs | TwoStageOutputs]:
    """Compute the losses of a batch and its raw outputs, in one forward pass.

    ``images`` are (B, 3, H, W) in 0..255, of which the ``valid_size`` (B, 2) rows and columns are image; targets are in
    their pixels. Models never see the targets: for two stages, the criterion selects the regions that the second
    refines.

    Raises:
        RecipeError: If the network returns more or fewer rows than there are anchors, or the criterion anything but
            Losses.
    """
    anchors = detector.anchors_of((images.shape[2], images.shape[3]))
    outputs = detector(detector.normalize(images, valid_size), valid_size)
    rows = (outputs.rpn if isinstance(outputs, TwoStageOutputs) else outputs).logits.shape[1]
    if rows != len(anchors):
        raise RecipeError(
            f"Expected {detector.recipe.detector} to give a row for each of {len(anchors)} anchors at "
            f"{images.shape[2]} x {images.shape[3]} pixels but got {rows}: maps have side / stride cells, rounded up"
        )
    if isinstance(detector, TwoStageDetector):
        select: Callable[..., list[Tensor]] = criterion.select  # type: ignore[assignment]
        rois = select(outputs.proposals, targets)
        outputs = outputs._replace(rois=rois, refined=detector.refine(outputs.features, rois))
    losses = criterion(anchors, outputs, targets)
    if not isinstance(losses, Losses):
        name, kind = name_of(criterion), type(losses).__name__
        raise RecipeError(f"Expected the criterion {name} to return boxwright.criterion.Losses but got {kind}")
    return losses, outputs
