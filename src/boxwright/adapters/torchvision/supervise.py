"""boxwright's supervision under torchvision's detectors, whose users keep their code.

torchvision's models match, mine and compute losses in methods named ``compute_loss``. A supervised instance gets a
callable of that name in its own dictionary; its class is unchanged. Nothing here is a closure, so that a supervised
model can still be copied and pickled.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD

from boxwright._util.checks import AXES, check_labels
from boxwright._util.devices import is_near
from boxwright.anchors import AnchorLevel, Anchors, on_grids
from boxwright.coding import BoxCoder, DeltaCoder, DistanceCoder
from boxwright.criterion import DenseCriterion, roi_losses, select_rois
from boxwright.parts import ClassKind
from boxwright.types import DenseOutputs, RoIOutputs, Targets

_Target = dict[str, Tensor]  # torchvision's: boxes (n, 4), labels (n,) and whatever else its user adds


def supervise(model: nn.Module, criterion: DenseCriterion | None, roi: DenseCriterion | None = None) -> None:
    """Replace a torchvision detector's matching, mining and losses by ``criterion``.

    ``model(images, targets)`` still returns the losses under torchvision's names; prediction does not change, and
    neither does the state dict, unless a loss has a state.

    torchvision's conventions hold: SSD and the RoI head have a softmax with labels from 1, since its 0 is background;
    RetinaNet and FCOS have a sigmoid for each column, the label being the column. A box whose target says ``iscrowd``
    is ignored. FCOS's centerness is learned as in torchvision, on the criterion's positives. The RoI head chooses among
    the proposals and the true boxes: a miner that needs no losses does so before features are pooled, others after all
    went through the head; RoIs are matched and mined image by image.

    A copy of the criterion becomes a part of the model, ``model.criterion``, and moves to devices with it; the given
    one is unchanged.

    Args:
        model: An SSD (SSDLite is one), RetinaNet, FCOS or Faster R-CNN.
        criterion: Supervises the model, or the RPN of a Faster R-CNN.
        roi: Supervises the RoI head of a Faster R-CNN; None keeps torchvision's own.

    Raises:
        ValueError: For another model, and for a criterion that does not fit: the other kind of class loss, a coder that
            differs from the one it predicts with, or ``roi`` with masks or keypoints, or with a matcher other than by
            IoU.
    """
    criterion, roi = copy.deepcopy(criterion), copy.deepcopy(roi)
    if isinstance(model, FasterRCNN):
        _supervise_faster_rcnn(model, criterion, roi)
    elif not isinstance(model, SSD | RetinaNet | FCOS):
        raise ValueError(
            f"Expected torchvision's SSD, SSDLite, RetinaNet, FCOS or Faster R-CNN but got {type(model).__name__}"
        )
    elif criterion is None or roi is not None:
        raise ValueError(f"Expected a criterion, and roi for Faster R-CNN alone, but got {criterion} and roi={roi}")
    else:
        _supervise_dense(model, criterion)


def _supervise_dense(model: SSD | RetinaNet | FCOS, criterion: DenseCriterion) -> None:
    if isinstance(model, SSD):
        _check(criterion, "SSD", "softmax", DeltaCoder(tuple(model.box_coder.weights)))
        loss: Callable[..., dict[str, Tensor]] = _SSDLoss(criterion)
    elif isinstance(model, RetinaNet):
        _check(criterion, "RetinaNet", "sigmoid", DeltaCoder(tuple(model.box_coder.weights)))
        loss = _RetinaNetLoss(criterion)
    else:
        _check(criterion, "FCOS", "sigmoid", DistanceCoder(unit=1))
        criterion.centerness_weights = False  # as in torchvision, unlike FCOS's own code
        loss = _FCOSLoss(criterion)
    _add_grids(model)
    _own(model, criterion)
    model.compute_loss = loss


def _check(criterion: DenseCriterion, what: str, kind: ClassKind, coder: BoxCoder) -> None:
    """Raise ValueError unless prediction decodes what the criterion encodes."""
    if criterion.class_info.kind != kind:
        raise ValueError(
            f"Expected a class loss of {kind} classifiers for {what}, which predicts so, but got one of "
            f"{criterion.class_info.kind} classifiers"
        )
    if criterion.coder != coder:
        raise ValueError(f"Expected the coder {coder}, which {what} predicts with, but got {criterion.coder}")


def _own(module: nn.Module, criterion: DenseCriterion) -> None:
    """Make the criterion a submodule."""
    module.criterion = criterion.to(next(module.parameters()).device).train(module.training)


# --- anchors


class _GridAnchors(list[Tensor]):
    """torchvision's anchors, (A, 4) for each image and the same for all, with their grids."""

    def __init__(self, boxes: list[Tensor], grids: Anchors) -> None:
        super().__init__(boxes)
        self.grids = grids


def _add_grids(module: nn.Module) -> None:
    """Make a module's anchor generator report its grids; raises ValueError if it is not torchvision's."""
    generator: Any = module.anchor_generator
    if not isinstance(generator, AnchorGenerator | DefaultBoxGenerator):
        raise ValueError(
            f"Expected torchvision's AnchorGenerator or DefaultBoxGenerator but got {type(generator).__name__}"
        )
    if not hasattr(module, "criterion"):  # otherwise it is already supervised
        generator.register_forward_hook(_tell_grids)


def _tell_grids(generator: Any, inputs: tuple[Any, list[Tensor]], boxes: list[Tensor]) -> list[Tensor]:
    """Record the grids: a forward hook of an anchor generator, called with images and feature maps."""
    if not generator.training:
        return boxes
    images, maps = inputs
    height, width = images.tensors.shape[-2:]
    first, fitted = boxes[0].float(), isinstance(generator, AnchorGenerator)
    levels: list[AnchorLevel] = []
    start = 0
    for place, (features, count) in enumerate(zip(maps, generator.num_anchors_per_location(), strict=True)):
        rows, columns = features.shape[-2:]
        if fitted:
            pitch: tuple[float, float] = (height // rows, width // columns)
        elif generator.steps is not None:
            pitch = (generator.steps[place], generator.steps[place])
        else:
            pitch = (height / rows, width / columns)
        cell = first[start : start + count]
        levels.append(AnchorLevel((rows, columns), max(pitch), pitch, cell[:, 2:] - cell[:, :2], 0 if fitted else 0.5))
        start += levels[-1].count
    # Autocast rounds to half precision; default boxes may be anywhere, and devices do not use grids.
    regular = boxes[0].dtype == torch.float32 if fitted else is_near(first) and on_grids(first, levels)
    return _GridAnchors(boxes, Anchors(first, tuple(levels), regular=regular))


# --- targets


def _pad(targets: list[_Target], first_label: int) -> Targets:
    """Pad a batch of torchvision's targets, whose labels start at ``first_label``, to ours."""
    crowds = [target.get("iscrowd", torch.zeros_like(target["labels"])).bool() for target in targets]
    return Targets(
        boxes=pad_sequence([target["boxes"].float() for target in targets], batch_first=True),
        labels=pad_sequence([target["labels"] - first_label for target in targets], True, padding_value=-1),
        ignore=pad_sequence(crowds, batch_first=True),
    )


def _check_classes(criterion: DenseCriterion, targets: list[_Target], first_label: int, classes: int) -> None:
    """Raise ValueError for labels out of range, which would count as padding or background, or for other weights."""
    labels = [target["labels"] for target in targets]
    check_labels(torch.cat(labels), first_label, first_label + classes - 1, ", as the model's head has,", AXES, labels)
    weights = None if criterion.class_weights is None else criterion.class_weights.fixed
    if weights is not None and len(weights) != classes:
        raise ValueError(f"Expected class_weights ({classes},) for this head's classes but got ({len(weights)},)")


# --- dense heads


@dataclass(eq=False)
class _RetinaNetLoss:
    """``compute_loss`` of a RetinaNet; one column per label, including the unused 0."""

    criterion: DenseCriterion

    def __call__(
        self, targets: list[_Target], outputs: dict[str, Tensor], anchors: _GridAnchors, *_: Any
    ) -> dict[str, Tensor]:
        logits = outputs["cls_logits"]
        _check_classes(self.criterion, targets, 0, logits.shape[-1])
        losses = self.criterion(anchors.grids, DenseOutputs(logits, outputs["bbox_regression"]), _pad(targets, 0))
        return {"classification": losses.classification, "bbox_regression": losses.box}


@dataclass(eq=False)
class _SSDLoss:
    """``compute_loss`` of an SSD, whose first column is background; the last argument is its own matcher's result."""

    criterion: DenseCriterion

    def __call__(
        self, targets: list[_Target], outputs: dict[str, Tensor], anchors: _GridAnchors, *_: Any
    ) -> dict[str, Tensor]:
        logits = outputs["cls_logits"].roll(-1, dims=-1)
        _check_classes(self.criterion, targets, 1, logits.shape[-1] - 1)
        losses = self.criterion(anchors.grids, DenseOutputs(logits, outputs["bbox_regression"]), _pad(targets, 1))
        return {"classification": losses.classification, "bbox_regression": losses.box}


@dataclass(eq=False)
class _FCOSLoss:
    """``compute_loss`` of an FCOS, whose anchors are squares with sides of one stride."""

    criterion: DenseCriterion

    def __call__(
        self, targets: list[_Target], outputs: dict[str, Tensor], anchors: _GridAnchors, *_: Any
    ) -> dict[str, Tensor]:
        grids = anchors.grids
        levels = (replace(level, stride=side) for level, side in zip(grids.levels, _sides(grids), strict=True))
        grids = replace(grids, levels=tuple(levels))
        dense = DenseOutputs(outputs["cls_logits"], outputs["bbox_regression"], outputs["bbox_ctrness"].squeeze(-1))
        _check_classes(self.criterion, targets, 0, dense.logits.shape[-1])
        losses = self.criterion(grids, dense, _pad(targets, 0))
        return {
            "classification": losses.classification,
            "bbox_regression": losses.box,
            "bbox_ctrness": losses.terms["centerness"],
        }


def _sides(anchors: Anchors) -> list[float]:
    """Return the width of each level's one anchor."""
    return torch.stack([level.shapes[0, 0] for level in anchors.levels]).tolist()


# --- Faster R-CNN


def _supervise_faster_rcnn(model: FasterRCNN, criterion: DenseCriterion | None, roi: DenseCriterion | None) -> None:
    if criterion is None and roi is None:
        raise ValueError("Expected a criterion for the RPN, the RoI head or both but got None twice")
    if criterion is not None:
        _check(criterion, "the RPN", "sigmoid", DeltaCoder(tuple(model.rpn.box_coder.weights)))
    if roi is not None:
        _check_roi(model.roi_heads, roi)
        _own(model.roi_heads, roi)
        model.roi_heads.forward = _RoIForward(model.roi_heads, roi)
    if criterion is not None:
        _supervise_rpn(model.rpn, criterion)


def _supervise_rpn(rpn: RegionProposalNetwork, criterion: DenseCriterion) -> None:
    _add_grids(rpn)
    _own(rpn, criterion)
    rpn.assign_targets_to_anchors = _assign_nothing
    rpn.compute_loss = _RPNLoss(criterion)


def _assign_nothing(
    anchors: _GridAnchors, targets: list[_Target]
) -> tuple[tuple[_GridAnchors, list[_Target]], _GridAnchors]:
    """Replace torchvision's own assignment by a placeholder; anchors and targets are passed on to ``compute_loss``."""
    return (anchors, targets), anchors


@dataclass(eq=False)
class _RPNLoss:
    """``compute_loss`` of an RPN: one class, object."""

    criterion: DenseCriterion

    def __call__(
        self, objectness: Tensor, deltas: Tensor, assigned: tuple[_GridAnchors, list[_Target]], _: Any
    ) -> tuple[Tensor, Tensor]:
        anchors, targets = assigned
        objects = [{**target, "labels": torch.zeros_like(target["labels"])} for target in targets]
        _check_classes(self.criterion, objects, 0, 1)
        outputs = DenseOutputs(objectness.view(len(anchors), -1, 1), deltas.view(len(anchors), -1, 4))
        losses = self.criterion(anchors.grids, outputs, _pad(objects, 0))
        return losses.classification, losses.box


def _check_roi(heads: RoIHeads, criterion: DenseCriterion) -> None:
    """Raise ValueError unless the criterion can supervise the heads."""
    _check(criterion, "the RoI head", "softmax", DeltaCoder(tuple(heads.box_coder.weights)))
    if heads.has_mask() or heads.has_keypoint():
        raise ValueError("Expected roi=None with masks or keypoints, which learn from torchvision's choice of RoIs")
    needs = " and ".join(criterion.matcher_info.needs)
    if needs:
        raise ValueError(f"Expected a matcher by IoU for the RoI head but got one that needs {needs}")


@dataclass(eq=False)
class _RoIForward:
    """``forward`` of RoI heads, whose losses are not a method but a function of torchvision's module."""

    heads: RoIHeads
    criterion: DenseCriterion

    def __call__(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[_Target] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        heads = self.heads
        if not heads.training or targets is None:
            forward: Callable[..., Any] = type(heads).forward
            result: tuple[list[dict[str, Tensor]], dict[str, Tensor]]
            result = forward(heads, features, proposals, image_shapes, targets)
            return result
        heads.check_targets(targets)
        padded = _pad(targets, 1)
        rois = select_rois(self.criterion, proposals, padded)
        pooled = heads.box_head(heads.box_roi_pool(features, rois, image_shapes))
        logits, deltas = heads.box_predictor(pooled)
        _check_classes(self.criterion, targets, 1, logits.shape[-1] - 1)
        # torchvision's first column is background, and so are its first four deltas
        outputs = RoIOutputs(logits.roll(-1, dims=-1), deltas[:, 4:])
        losses = roi_losses(self.criterion, rois, outputs, padded)
        return [], {"loss_classifier": losses.classification, "loss_box_reg": losses.box}
