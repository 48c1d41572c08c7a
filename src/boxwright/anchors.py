"""Anchors: reference boxes on the regular grids of a detector's feature maps.

An ``AnchorSpec`` says which boxes sit on every cell of each map; ``make_anchors`` lays them out over an image.
Sizes are (H, W), shapes are (w, h), all in pixels of the network's input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class LevelSpec:
    """One feature map: its stride in pixels and the (w, h) of the anchors on every cell of it."""

    stride: float
    shapes: tuple[tuple[float, float], ...]
    offset: float = 0.5
    """Where in its cell an anchor is centred, in cells: 0.5 is the middle, 0 the upper left corner."""


@dataclass(frozen=True)
class AnchorSpec:
    """The anchors of a detector, for any image size: a map has ceil(size / stride) cells along each side."""

    levels: tuple[LevelSpec, ...]

    @classmethod
    def squares(cls, strides: Sequence[float] = (8, 16, 32), scale: float = 4.0) -> AnchorSpec:
        """One square anchor of side ``scale`` x stride in the middle of every cell (as in ATSS, arXiv 1912.02424)."""
        return cls(tuple(LevelSpec(stride, ((scale * stride, scale * stride),)) for stride in strides))


@dataclass(frozen=True)
class AnchorLevel:
    """One feature map of an image: anchor centres are at (column + offset, row + offset) x stride."""

    grid: tuple[int, int]
    """Rows and columns."""
    stride: float
    shapes: Tensor
    """(S, 2) float32 widths and heights of the anchors of a cell."""
    offset: float = 0.5

    @property
    def count(self) -> int:
        """Anchors of this level."""
        return self.grid[0] * self.grid[1] * len(self.shapes)


@dataclass(frozen=True)
class Anchors:
    """All anchors of an image, ordered by level, row, column and shape."""

    boxes: Tensor
    """(A, 4) float32 xyxy in pixels; they may reach out of the image."""
    levels: tuple[AnchorLevel, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device | str) -> Anchors:
        """The same anchors on another device."""
        levels = tuple(replace(level, shapes=level.shapes.to(device)) for level in self.levels)
        return replace(self, boxes=self.boxes.to(device), levels=levels)


def make_anchors(spec: AnchorSpec, image_size: int | tuple[int, int]) -> Anchors:
    """Lay the anchors of ``spec`` over an image of ``image_size`` (H, W), or over a square one.

    Raises ValueError for a side below 1.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(size) < 1:
        raise ValueError(f"Expected an image size (H, W) of at least 1 but got {image_size}")
    levels = []
    for level in spec.levels:
        grid = (math.ceil(size[0] / level.stride), math.ceil(size[1] / level.stride))
        shapes = torch.tensor(level.shapes, dtype=torch.float64).reshape(-1, 2)
        levels.append(AnchorLevel(grid, level.stride, shapes, level.offset))
    boxes = torch.cat([_level_boxes(level) for level in levels])
    return Anchors(boxes.float(), tuple(replace(level, shapes=level.shapes.float()) for level in levels))


def _level_boxes(level: AnchorLevel) -> Tensor:
    """Boxes (rows x columns x S, 4) of one map in float64: rounding happens once, at the end."""
    rows, columns = (torch.arange(cells, dtype=torch.float64) for cells in level.grid)
    cy, cx = torch.meshgrid(
        (rows + level.offset) * level.stride, (columns + level.offset) * level.stride, indexing="ij"
    )
    centres = torch.stack([cx, cy], dim=-1).reshape(-1, 1, 2)
    half = level.shapes[None] / 2
    return torch.cat([centres - half, centres + half], dim=-1).reshape(-1, 4)
