"""The containers passed between the layers.

Shape shorthand: B images, G padded targets of an image, A anchors, K classes, n detections. Boxes are xyxy, float32, in
pixels of the tensor that they belong to, in continuous coordinates (no + 1). Labels are 0..K-1; -1 pads a batch of
targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from boxwright import bridges
from boxwright._util.notebook import html_table


class Targets(NamedTuple):
    """Ground truth of a batch, padded to the image with most boxes: G is 0 when no image has a box."""

    boxes: Tensor
    """(B, G, 4) float32 xyxy, pixels of the network's input; padding rows are 0."""
    labels: Tensor
    """(B, G) int64, -1 where padded."""
    ignore: Tensor
    """(B, G) bool: crowd and difficult boxes, which are neither objects to find nor background."""

    def to(self, device: object, non_blocking: bool = False) -> Targets:
        """Move the targets to another device."""
        return Targets(*(field.to(device, non_blocking=non_blocking) for field in self))  # type: ignore[call-overload]

    def of_image(self, row: int) -> Targets:
        """Select one image's targets, as a batch of one."""
        return Targets(*(field[row : row + 1] for field in self))

    def by_image(self) -> list[Targets]:
        """Split the targets into batches of one image."""
        return [self.of_image(row) for row in range(len(self.labels))]


class FeatureMap(NamedTuple):
    """One output of a backbone."""

    channels: int
    stride: int
    """Pixels of the input between two cells."""


class Matches(NamedTuple):
    """Which target each anchor answers for. Index and state are separate: neither encodes the other."""

    gt_index: Tensor
    """(B, A) int64 into the padded targets; meaningful where ``iou`` is above 0 or ``state`` is 1, else 0."""
    state: Tensor
    """(B, A) int8: 1 positive, 0 negative, -1 ignored."""
    iou: Tensor
    """(B, A) float32: IoU of the anchor with the target at ``gt_index``."""


class DenseOutputs(NamedTuple):
    """Predictions of a dense detector at every anchor."""

    logits: Tensor
    """(B, A, K') with K' = K for sigmoid heads, K + 1 for softmax heads (background last)."""
    deltas: Tensor
    """(B, A, D): boxes encoded against their anchors; D is 4, or 4 x bins for distributions."""
    centerness: Tensor | None = None
    """(B, A) logits of how central each anchor is in its object; None for heads without centerness."""

    def of_image(self, row: int) -> DenseOutputs:
        """Select one image's outputs, as a batch of one."""
        return DenseOutputs(*(None if field is None else field[row : row + 1] for field in self))  # type: ignore[arg-type]


class RoIOutputs(NamedTuple):
    """Predictions of the second stage at R regions of interest, those of the first image first."""

    logits: Tensor
    """(R, K') with K' = K for sigmoid heads, K + 1 for softmax heads (background last)."""
    deltas: Tensor
    """(R, D) boxes encoded against their regions, or (R, K x D) with a box for every class."""

    def by_image(self, counts: Sequence[int]) -> list[DenseOutputs]:
        """Split the outputs by image, ``counts`` regions each, into dense outputs (1, n, ...)."""
        pairs = zip(torch.split(self.logits, list(counts)), torch.split(self.deltas, list(counts)), strict=True)
        return [DenseOutputs(logits.unsqueeze(0), deltas.unsqueeze(0)) for logits, deltas in pairs]


class TwoStageOutputs(NamedTuple):
    """Predictions of a two-stage detector: first at every anchor, then at the chosen regions."""

    rpn: DenseOutputs
    """Outputs at every anchor; the one class is "object"."""
    features: list[Tensor]
    """Feature maps (B, C, H / stride, W / stride) that regions are pooled from, finest first."""
    proposals: list[Tensor]
    """(n, 4) of each image, without gradient, by falling objectness."""
    rois: list[Tensor] | None = None
    """(r, 4) of each image: the regions given to the second stage."""
    refined: RoIOutputs | None = None
    """The second stage's outputs at these regions."""

    def of_image(self, row: int) -> TwoStageOutputs:
        """Select one image's outputs, as a batch of one."""
        rois, refined = self.rois, self.refined
        if rois is not None and refined is not None:
            start = sum(len(boxes) for boxes in rois[:row])
            places = slice(start, start + len(rois[row]))
            rois, refined = [rois[row]], RoIOutputs(refined.logits[places], refined.deltas[places])
        features = [x[row : row + 1] for x in self.features]
        return TwoStageOutputs(self.rpn.of_image(row), features, [self.proposals[row]], rois, refined)


class Detections(NamedTuple):
    """The detections of one image, sorted by falling score."""

    boxes: Tensor
    """(n, 4) float32 xyxy, pixels of the original image."""
    scores: Tensor
    """(n,) float32 in 0..1."""
    labels: Tensor
    """(n,) int64 in 0..K-1."""

    def _repr_html_(self) -> str:
        boxes, scores, labels = (part.tolist() for part in self)
        rows = (
            [f"{label}", f"{score:.3f}", *(f"{side:.1f}" for side in box)]
            for box, score, label in zip(boxes, scores, labels, strict=True)
        )
        return html_table(("label", "score", "left", "top", "right", "bottom"), rows)

    def to_supervision(self, classes: Sequence[str] | None = None) -> Any:
        """Make supervision's ``Detections``: see ``bridges.to_supervision``."""
        return bridges.to_supervision(self, classes)

    def to_coco(
        self,
        image_id: int | str,
        classes: Sequence[str] | None = None,
        *,
        category_ids: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Make the entries of a COCO results file: see ``bridges.to_coco``."""
        return bridges.to_coco(self, image_id, classes, category_ids=category_ids)

    def to_pandas(self, classes: Sequence[str] | None = None) -> Any:
        """Make a pandas DataFrame: see ``bridges.to_pandas``."""
        return bridges.to_pandas(self, classes)

    def to_fiftyone(
        self, file: str | Path, size: tuple[int, int], classes: Sequence[str], *, field: str = "predictions"
    ) -> Any:
        """Make a FiftyOne ``Sample`` of an image file of ``size`` (H, W): see ``bridges.to_fiftyone``."""
        return bridges.to_fiftyone(self, file, size, classes, field=field)
