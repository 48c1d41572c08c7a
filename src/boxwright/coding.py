"""Box coding: how a box is written down relative to its anchor.

Every coder takes anchors (A, 4) or (..., 4) first, works over any leading dimensions, and obeys
``decode(anchors, encode(anchors, boxes)) == boxes``. ``size`` is how many numbers it needs for an anchor.
All is computed in at least float32. Boxes without width or height are encoded to finite numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from boxwright.boxes import at_least_float32, convert_boxes

# exp(4.135) = 62.5 times the anchor: a 16 px anchor reaches 1000 px. Beyond it an untrained head would overflow.
MAX_LOG_SCALE = math.log(1000 / 16)

_MIN_SIDE = 1e-6
_MIN_PROBABILITY = 1e-12


class BoxCoder(Protocol):
    """What a criterion and a detector need of a coder."""

    @property
    def size(self) -> int:
        """Numbers per anchor."""

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) as deltas (..., size)."""

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Deltas (..., size) as boxes (..., 4)."""


@dataclass(frozen=True)
class DeltaCoder:
    """Centre shift in anchor sides and log of the side ratio (R-CNN, arXiv 1311.2524, eq. C.6-9), times ``weights``.

    The weights are 1 / variances: (10, 10, 5, 5) is SSD's (0.1, 0.1, 0.2, 0.2). Decoding limits the log ratio to
    log(1000 / 16) from above, with no gradient beyond. Encoding takes sides below 1e-6 px as 1e-6.
    """

    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    size: ClassVar[int] = 4

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) as deltas (..., 4): dx, dy, dw, dh."""
        centre, sides = _centre_and_sides(boxes)
        anchor_centre, anchor_sides = _centre_and_sides(anchors)
        shift = (centre - anchor_centre) / anchor_sides
        scale = torch.log(sides / anchor_sides)
        return torch.cat([shift, scale], dim=-1) * shift.new_tensor(self.weights)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Deltas (..., 4) as boxes (..., 4)."""
        deltas = at_least_float32(deltas)
        anchor_centre, anchor_sides = _centre_and_sides(anchors)
        shift, scale = (deltas / deltas.new_tensor(self.weights)).chunk(2, dim=-1)
        centre = anchor_centre + shift * anchor_sides
        half = anchor_sides * torch.exp(scale.clamp(max=MAX_LOG_SCALE)) / 2
        return torch.cat([centre - half, centre + half], dim=-1)


@dataclass(frozen=True)
class DistanceCoder:
    """Distances (l, t, r, b) in pixels from the anchor's centre to the box's sides (FCOS, arXiv 1904.01355, eq. 1).

    A distance is negative where the centre lies outside the box; decoding doesn't forbid it.
    """

    size: ClassVar[int] = 4

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) as distances (..., 4) in pixels."""
        boxes = at_least_float32(boxes)
        centre, _ = _centre_and_sides(anchors)
        return torch.cat([centre - boxes[..., :2], boxes[..., 2:] - centre], dim=-1)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Distances (..., 4) as boxes (..., 4)."""
        deltas = at_least_float32(deltas)
        centre, _ = _centre_and_sides(anchors)
        return torch.cat([centre - deltas[..., :2], centre + deltas[..., 2:]], dim=-1)


@dataclass(frozen=True)
class DistributionCoder:
    """Each of the distances (l, t, r, b) as a distribution over ``bins`` values (GFL, arXiv 2006.04388, section 3).

    Bin k stands for k x ``step`` x sqrt(anchor area): with anchors of side 4 x stride and step 0.25, for k strides.
    Deltas (..., 4 x bins) are logits; decoding takes the softmax's expectation. Distances stop at the bins' range.
    """

    bins: int = 17
    step: float = 0.25

    def __post_init__(self) -> None:
        if self.bins < 2 or self.step <= 0:
            raise ValueError(f"Expected at least 2 bins and a positive step but got {self.bins} and {self.step}")

    @property
    def size(self) -> int:
        """Numbers per anchor."""
        return 4 * self.bins

    def distances(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Distances (..., 4) of the boxes' sides from the anchors' centres in bins, within 0..bins - 1."""
        distances = DistanceCoder().encode(anchors, boxes) / self._unit(anchors)
        return distances.clamp(0, self.bins - 1)

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) as logits (..., 4 x bins): the two bins about each distance share it linearly."""
        distances = self.distances(anchors, boxes)
        probability = (1 - (distances.unsqueeze(-1) - self._positions(distances)).abs()).clamp(min=_MIN_PROBABILITY)
        return probability.log().flatten(-2)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Logits (..., 4 x bins) as boxes (..., 4)."""
        logits = at_least_float32(deltas).reshape(*deltas.shape[:-1], 4, self.bins)
        distances = (logits.softmax(-1) * self._positions(logits)).sum(-1)
        return DistanceCoder().decode(anchors, distances * self._unit(anchors))

    def _unit(self, anchors: Tensor) -> Tensor:
        """Pixels (..., 1) that a bin is worth."""
        _, sides = _centre_and_sides(anchors)
        return self.step * sides.prod(-1, keepdim=True).sqrt()

    def _positions(self, like: Tensor) -> Tensor:
        return torch.arange(self.bins, dtype=like.dtype, device=like.device)


def _centre_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (..., 2) and sides (..., 2), the sides at least 1e-6 so that they can divide and have a logarithm."""
    centre, sides = convert_boxes(at_least_float32(boxes), "xyxy", "cxcywh").chunk(2, dim=-1)
    return centre, sides.clamp(min=_MIN_SIDE)
