"""Box coding: how a box is described relative to its anchor.

Every coder takes anchors (A, 4) or (..., 4) first, works over any leading dimensions, and obeys
``decode(anchors, encode(anchors, boxes)) == boxes``. ``dim`` is how many numbers it needs for an anchor.
All is computed in at least float32. In eager calls on the CPU, encoding raises ValueError for boxes that are not finite
or have no area; elsewhere finite boxes without area are encoded to finite numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from boxwright._util.checks import check_boxes
from boxwright._util.devices import constants, without_autocast
from boxwright.boxes import at_least_float32, safe_ratio
from boxwright.parts import coder

# exp(4.135) = 62.5 times the anchor: a 16 px anchor reaches 1000 px. Beyond it an untrained head would overflow.
MAX_LOG_SCALE = math.log(1000 / 16)

_MIN_SIDE = 1e-6
_MIN_PROBABILITY = 1e-12


class BoxCoder(Protocol):
    """The interface of a coder, for criteria and detectors."""

    @property
    def dim(self) -> int:
        """Numbers per anchor."""

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Encode boxes (..., 4) as deltas (..., dim)."""

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Decode deltas (..., dim) to boxes (..., 4)."""


@coder
@dataclass(frozen=True)
class DeltaCoder:
    """Encode a box by its center's shift in anchor sizes and the log of its side ratios, times ``weights``.

    Source: R-CNN, arXiv 1311.2524, eq. C.6-9. The weights are 1 / variances: (10, 10, 5, 5) is SSD's (0.1, 0.1, 0.2,
    0.2). Decoding limits the log ratio to log(1000 / 16), with no gradient beyond. Encoding takes sides below 1e-6 px
    as 1e-6.

    Examples:
        >>> coder = bw.coding.DeltaCoder()
        >>> anchors, boxes = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 20]])
        >>> deltas = coder.encode(anchors, boxes)
        >>> coder.decode(anchors, deltas)
        tensor([[ 5.,  0., 15., 20.]])
    """

    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    dim: ClassVar[int] = 4

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Encode boxes (..., 4) as deltas (..., 4): dx, dy, dw, dh."""
        check_boxes(boxes)
        center, sides = _center_and_sides(boxes)
        anchor_center, anchor_sides = _center_and_sides(anchors)
        shift = (center - anchor_center) / anchor_sides
        scale = torch.log(sides / anchor_sides)
        return torch.cat([shift, scale], dim=-1) * constants(self.weights, shift)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Decode deltas (..., 4) to boxes (..., 4)."""
        deltas = at_least_float32(deltas)
        anchor_center, anchor_sides = _center_and_sides(anchors)
        shift, scale = (deltas / constants(self.weights, deltas)).chunk(2, dim=-1)
        center = anchor_center + shift * anchor_sides
        half = anchor_sides * torch.exp(scale.clamp(max=MAX_LOG_SCALE)) / 2
        return torch.cat([center - half, center + half], dim=-1)


@coder
@dataclass(frozen=True)
class DistanceCoder:
    """Encode a box by the distances (l, t, r, b) from the anchor's center to its sides.

    Source: FCOS, arXiv 1904.01355, eq. 1. Distances are in pixels, or in ``unit`` x sqrt(anchor area): with 0.5 a
    square anchor's own distances are 1. A distance is negative if the center is outside the box; decoding allows that.

    Raises:
        ValueError: If ``unit`` is not above 0.

    Examples:
        >>> anchors, boxes = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[1.0, 2, 13, 14]])
        >>> bw.coding.DistanceCoder(unit=None).encode(anchors, boxes)
        tensor([[4., 3., 8., 9.]])
    """

    unit: float | None = None
    dim: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.unit is not None and not self.unit > 0:
            raise ValueError(f"Expected a unit above 0 but got {self.unit}")

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Encode boxes (..., 4) as distances (..., 4)."""
        check_boxes(boxes)
        center, sides = _center_and_sides(anchors)
        distances = _distances(center, boxes)
        return distances if self.unit is None else distances / (self.unit * _mean(sides))

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Decode distances (..., 4) to boxes (..., 4)."""
        return _at_distances(anchors, at_least_float32(deltas), self.unit)


@coder
@dataclass(frozen=True)
class DistributionCoder:
    """Encode each of the distances (l, t, r, b) as a distribution over ``bins`` values.

    Source: GFL, arXiv 2006.04388, section 3. Bin k stands for k x ``step`` x sqrt(anchor area): with anchors of side
    4 x stride and step 0.25, for k strides. Deltas (..., 4 x bins) are logits; decoding takes the expectation of their
    softmax. Distances are clipped to the bins' range.
    """

    bins: int = 17
    step: float = 0.25

    def __post_init__(self) -> None:
        if self.bins < 2 or self.step <= 0:
            raise ValueError(f"Expected at least 2 bins and a positive step but got {self.bins} and {self.step}")

    @property
    def dim(self) -> int:
        """Numbers per anchor."""
        return 4 * self.bins

    def distances(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Compute the distances (..., 4) of the boxes' sides from the anchors' centers in bins, within 0..bins - 1."""
        distances = DistanceCoder(self.step).encode(anchors, boxes)
        return distances.clamp(0, self.bins - 1)

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Encode boxes (..., 4) as logits (..., 4 x bins): the two bins next to each distance share it linearly."""
        distances = self.distances(anchors, boxes)
        probability = (1 - (distances.unsqueeze(-1) - self._positions(distances)).abs()).clamp(min=_MIN_PROBABILITY)
        return probability.log().flatten(-2)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Decode logits (..., 4 x bins) to boxes (..., 4)."""
        logits = at_least_float32(deltas).reshape(*deltas.shape[:-1], 4, self.bins)
        with without_autocast(logits.device.type):  # autocast would compute the product in half precision
            distances = logits.softmax(-1) @ self._positions(logits)
        return _at_distances(anchors, distances, self.step)

    def _positions(self, like: Tensor) -> Tensor:
        return torch.arange(self.bins, dtype=like.dtype, device=like.device)


def centerness(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Compute how central the anchors' centers are in boxes (..., 4): (...,) in 0..1 (FCOS, arXiv 1904.01355, eq. 3).

    It is sqrt(min(l, r) / max(l, r) x min(t, b) / max(t, b)): 1 in the middle; 0 on the edge, outside, and for a box
    without width or height.

    Examples:
        >>> anchors, boxes = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 40]])
        >>> bw.coding.centerness(anchors, boxes)
        tensor([0.3780])
    """
    center, _ = _center_and_sides(anchors)
    first, last = _distances(center, boxes).chunk(2, dim=-1)
    ratios = safe_ratio(torch.minimum(first, last).clamp(min=0), torch.maximum(first, last))
    return ratios.prod(-1).sqrt()


def _center_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Compute centers (..., 2) and sides (..., 2), the sides at least 1e-6 for divisions and logarithms."""
    first, last = at_least_float32(boxes).chunk(2, dim=-1)
    return (first + last) / 2, (last - first).clamp(min=_MIN_SIDE)


def _distances(center: Tensor, boxes: Tensor) -> Tensor:
    """Compute the distances (..., 4) from centers (..., 2) to the sides of boxes (..., 4)."""
    first, last = at_least_float32(boxes).chunk(2, dim=-1)
    return torch.cat([center - first, last - center], dim=-1)


def _at_distances(anchors: Tensor, distances: Tensor, unit: float | None) -> Tensor:
    """Place boxes (..., 4) by the distances (..., 4) of their sides from the anchors' centers."""
    center, sides = _center_and_sides(anchors)
    if unit is not None:
        distances = distances * (unit * _mean(sides))
    first, last = distances.chunk(2, dim=-1)
    return torch.cat([center - first, center + last], dim=-1)


def _mean(sides: Tensor) -> Tensor:
    """Compute the side (..., 1) of a square of the same area as one with sides (..., 2)."""
    width, height = sides.chunk(2, dim=-1)
    return (width * height).sqrt()
