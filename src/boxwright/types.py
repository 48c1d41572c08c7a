"""The containers that travel between the layers.

Shape shorthand: B images, G padded targets of an image, A anchors, K classes, n detections.
Boxes are xyxy, float32, pixels of the tensor that they go with, in continuous coordinates (no + 1).
Labels are 0..K-1; -1 pads a batch of targets.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Targets(NamedTuple):
    """Ground truth of a batch, padded to the largest image of it: G is 0 when no image has a box."""

    boxes: Tensor
    """(B, G, 4) float32 xyxy, pixels of the network's input; padding rows are 0."""
    labels: Tensor
    """(B, G) int64, -1 where padded."""
    ignore: Tensor
    """(B, G) bool: crowd and difficult boxes, which are neither objects to find nor background."""

    def to(self, device: object, non_blocking: bool = False) -> Targets:
        """The same targets on another device."""
        return Targets(*(field.to(device, non_blocking=non_blocking) for field in self))  # type: ignore[call-overload]


class Matches(NamedTuple):
    """Which target each anchor answers for. Index and state are separate: neither encodes the other."""

    gt_index: Tensor
    """(B, A) int64 into the padded targets; meaningful where ``iou`` is above 0 or ``state`` is 1, else 0."""
    state: Tensor
    """(B, A) int8: 1 positive, 0 negative, -1 ignored."""
    iou: Tensor
    """(B, A) float32: IoU of the anchor with the target at ``gt_index``."""


class DenseOutputs(NamedTuple):
    """What a dense detector predicts at every anchor."""

    logits: Tensor
    """(B, A, K') with K' = K for sigmoid heads, K + 1 for softmax heads (background last)."""
    deltas: Tensor
    """(B, A, D): boxes encoded against their anchors; D is 4, or 4 x bins for distributions."""
    centreness: Tensor | None = None
    """(B, A) logits of how central each anchor is in its object; None for heads that don't say."""


class Detections(NamedTuple):
    """What was found in one image, sorted by falling score."""

    boxes: Tensor
    """(n, 4) float32 xyxy, pixels of the image that was given."""
    scores: Tensor
    """(n,) float32 in 0..1."""
    labels: Tensor
    """(n,) int64 in 0..K-1."""
