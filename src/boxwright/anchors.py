"""Anchors: reference boxes on the regular grids of a detector's feature maps.

An ``AnchorSpec`` describes the boxes on every cell of each map; ``make_anchors`` places them over an image.
Sizes are (H, W), shapes are (w, h), all in pixels of the network's input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright._util.devices import is_near
from boxwright.boxes import LARGEST, Corners, at_least_float32, clip_boxes

Clip = Literal["corners", "sizes"]
Rounding = Literal["ceil", "floor"]
BoundsRule = Literal["paper", "authors"]
Shape = tuple[float, float]

_ROUNDING = 4e-7  # relative to the largest coordinate: three times float32's
_SSD300_STRIDES = (8, 16, 32, 64, 100, 300)
_SSD300_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


@dataclass(frozen=True)
class LevelSpec:
    """One feature map: its stride in pixels and the (w, h) of the anchors on every cell of it."""

    stride: float
    shapes: tuple[Shape, ...]
    offset: float = 0.5
    """Position of an anchor in its cell, in cells: 0.5 is the middle, 0 the upper left corner."""


@dataclass(frozen=True)
class AnchorSpec:
    """The anchors of a detector, for any image size."""

    levels: tuple[LevelSpec, ...]
    clip: Clip | None = None
    """"corners" clips boxes to the image; "sizes" limits width and height to the image's and keeps the centers."""
    fitted: bool = False
    """Space cells by the image's side // their number, as torchvision does, and not by the stride."""
    rounding: Rounding = "ceil"
    """Rounding of the number of cells along each side, side / stride: "ceil" or "floor"."""

    def __post_init__(self) -> None:
        if self.clip is not None and self.clip not in get_args(Clip):
            raise ValueError(f"Expected clip to be None or out of {get_args(Clip)} but got {self.clip!r}")
        if self.rounding not in get_args(Rounding):
            raise ValueError(f"Expected rounding out of {get_args(Rounding)} but got {self.rounding!r}")

    @classmethod
    def squares(cls, strides: Sequence[float] = (8, 16, 32), scale: float = 4.0) -> AnchorSpec:
        """Place one square of side ``scale`` x stride in the middle of every cell (as in ATSS, arXiv 1912.02424)."""
        return cls(tuple(LevelSpec(stride, ((scale * stride, scale * stride),)) for stride in strides))

    @classmethod
    def shapes(cls, strides: Sequence[float] = (8, 16, 32), levels: str = "32x32 / 64x64 / 128x128") -> AnchorSpec:
        """Place any boxes in the middle of every cell: "16x20 30x31 / 64x60" is two (w, h) on the first map, then one.

        Raises ValueError for text that cannot be read, and if the numbers of levels and strides differ.
        """
        parsed = [[tuple(map(float, shape.split("x"))) for shape in level.split()] for level in str(levels).split("/")]
        if not all(level and all(len(shape) == 2 and min(shape) > 0 for shape in level) for level in parsed):
            raise ValueError(f"Expected levels as 16x20 30x31 / 64x60 but got {levels!r}")
        if len(parsed) != len(strides):
            raise ValueError(f"Expected shapes for {len(strides)} levels but got {len(parsed)}")
        return cls(
            tuple(
                LevelSpec(stride, tuple((w, h) for w, h in level))
                for stride, level in zip(strides, parsed, strict=True)
            )
        )

    @classmethod
    def ssd(
        cls,
        sizes: Sequence[float],
        strides: Sequence[float],
        ratios: Sequence[Sequence[float]],
        clip: Clip | None = None,
    ) -> AnchorSpec:
        """Place SSD's boxes (arXiv 1512.02325, section 2.2), given the side of each level's square in pixels.

        A cell has squares of side s and sqrt(s s'), s' being the next level's, then for each of the level's ratios r a
        wide box (s sqrt(r), s / sqrt(r)) and a tall one. ``sizes`` has one entry more than there are levels.
        Raises ValueError if the lengths disagree.
        """
        if not len(sizes) - 1 == len(strides) == len(ratios):
            raise ValueError(
                f"Expected one size more than strides and ratios but got {len(sizes)}, {len(strides)} and {len(ratios)}"
            )
        levels = []
        for size, following, stride, level_ratios in zip(sizes, sizes[1:], strides, ratios, strict=False):
            between = math.sqrt(size * following)
            shapes: list[Shape] = [(size, size), (between, between)]
            for root in map(math.sqrt, level_ratios):
                shapes += [(size * root, size / root), (size / root, size * root)]
            levels.append(LevelSpec(stride, tuple(shapes)))
        return cls(tuple(levels), clip)

    @classmethod
    def from_bounds(
        cls,
        s_min: float = 0.2,
        s_max: float = 0.9,
        *,
        image_size: int = 300,
        strides: Sequence[float] = _SSD300_STRIDES,
        ratios: Sequence[Sequence[float]] = _SSD300_RATIOS,
        clip: Clip | None = None,
        rule: BoundsRule = "paper",
        first: float | None = None,
    ) -> AnchorSpec:
        """Place SSD's boxes, sizes rising from s_min to s_max as shares of ``image_size``; by default on SSD300's maps.

        - "paper": a line from s_min on the first level to s_max on the last (arXiv 1512.02325, eq. 4), which goes on
          one step for the last level's s'.
        - "authors": as in their code (weiliu89/caffe, examples/ssd/ssd_pascal.py). The second level has s_min, each
          further one floor((s_max - s_min) / (levels - 2)) more, all in whole percent: .2 and .9 give ``SSD300``, .15
          and .9 ``SSD300_COCO``.

        ``first``: the first level's size as a share, which only "authors" takes; None: half of s_min in whole percent,
        rounded down (their 10 % of 20, 7 % of 15; for SSD512 on COCO they use 4 % of 10). Raises ValueError for an
        unknown rule, bounds that fall or are not above 0, and fewer than two levels, or three with "authors".
        """
        if rule not in get_args(BoundsRule) or (first is not None and rule != "authors"):
            raise ValueError(f"Expected a rule out of {get_args(BoundsRule)}, 'authors' with first, but got {rule!r}")
        least = 2 if rule == "paper" else 3
        if len(strides) < least:
            raise ValueError(f"Expected at least {least} levels but got strides {tuple(strides)}")
        if not 0 < s_min <= s_max:
            raise ValueError(f"Expected bounds 0 < s_min <= s_max but got {s_min} and {s_max}")
        if rule == "paper":
            step = (s_max - s_min) / (len(strides) - 1)
            sizes = [image_size * (s_min + step * k) for k in range(len(strides) + 1)]
        else:
            low, high = round(100 * s_min), round(100 * s_max)
            per_cent = (high - low) // (len(strides) - 2)
            start = low // 2 if first is None else 100 * first
            sizes = [image_size * share / 100 for share in (start, *(low + per_cent * k for k in range(len(strides))))]
        return cls.ssd(sizes, strides, ratios, clip)

    @classmethod
    def pyramid(cls, strides: Sequence[float], scales: Sequence[float], ratios: Sequence[float]) -> AnchorSpec:
        """Place boxes of area (scale x stride)^2 and ratio h / w, ordered by ratio, on the cells' upper left corners.

        As in FPN (arXiv 1612.03144) and RetinaNet (arXiv 1708.02002, section 4).
        """
        roots = [math.sqrt(ratio) for ratio in ratios]
        return cls(
            tuple(
                LevelSpec(
                    stride, tuple((s * stride / root, s * stride * root) for root in roots for s in scales), offset=0
                )
                for stride in strides
            )
        )

    @classmethod
    def torchvision(
        cls,
        sizes: Sequence[Sequence[float]] = ((32,), (64,), (128,), (256,), (512,)),
        ratios: Sequence[float] = (0.5, 1, 2),
        strides: Sequence[float] = (4, 8, 16, 32, 64),
    ) -> AnchorSpec:
        """Place the boxes of torchvision's ``AnchorGenerator`` with one tuple of sizes and the same ratios per level.

        The defaults are those of its Faster R-CNN. Unlike ``pyramid``, corners are rounded to whole pixels, and cells
        are image side // cells apart: at 320 px the three cells of stride 128 are 106 px apart. Use it for models
        trained that way. Raises ValueError if the numbers of sizes and strides differ.
        """
        if len(sizes) != len(strides):
            raise ValueError(f"Expected sizes for every stride but got {len(sizes)} and {len(strides)}")
        roots = [math.sqrt(ratio) for ratio in ratios]
        levels = [
            LevelSpec(
                stride,
                tuple((2.0 * round(size / root / 2), 2.0 * round(size * root / 2)) for root in roots for size in level),
                offset=0,
            )
            for stride, level in zip(strides, sizes, strict=True)
        ]
        return cls(tuple(levels), fitted=True)


@dataclass(frozen=True, eq=False)
class AnchorLevel:
    """One feature map of an image: anchor centers are at (column + offset, row + offset) x pitch."""

    grid: tuple[int, int]
    """Rows and columns."""
    stride: float
    pitch: tuple[float, float]
    """Pixels from a row and from a column to the next: the stride, unless the spec is ``fitted``."""
    shapes: Tensor
    """(S, 2) float32 widths and heights of the anchors of a cell."""
    offset: float = 0.5

    @property
    def count(self) -> int:
        """Number of anchors on this level."""
        return self.grid[0] * self.grid[1] * len(self.shapes)


@dataclass(frozen=True, eq=False)
class Anchors:
    """All anchors of an image, ordered by level, row, column and shape."""

    boxes: Tensor
    """(A, 4) float32 xyxy in pixels; they may reach beyond the image."""
    levels: tuple[AnchorLevel, ...]
    regular: bool = True
    """Whether the boxes are the levels' shapes on their grids; False where corners were clipped."""

    def __len__(self) -> int:
        return len(self.boxes)

    @cached_property
    def grid_shapes(self) -> GridShapes:
        """The levels as one table, which matching uses."""
        return GridShapes.of(self)

    @cached_property
    def corners(self) -> Corners:
        """The boxes in the form in which overlaps are computed."""
        boxes = known = at_least_float32(self.boxes)
        if not (is_near(boxes) and math.isfinite(boxes.sum().item())):
            finite = (boxes - boxes == 0).all(1, keepdim=True)
            boxes, known = torch.where(finite, boxes, torch.nan), torch.where(finite, boxes, 0.0)
        x1, y1, x2, y2 = (corner.contiguous() for corner in known.unbind(-1))
        area = (x2 - x1).clamp_(0, LARGEST).mul_((y2 - y1).clamp_(0, LARGEST))
        return Corners(boxes, x1, y1, x2, y2, area)

    def to(self, device: torch.device | str) -> Anchors:
        """Move the anchors to another device."""
        levels = tuple(replace(level, shapes=level.shapes.to(device)) for level in self.levels)
        return replace(self, boxes=self.boxes.to(device), levels=levels)


@dataclass(frozen=True, eq=False)
class GridShapes:
    """The S shapes of all levels: the anchor of a shape on (column, row) is ``first`` + steps x (column, row).

    Pairs are x before y.
    """

    first: Tensor
    """(S,) int64 the anchor on the upper left cell."""
    steps: Tensor
    """(S, 2) int64 from a column and from a row to the next."""
    last_cell: Tensor
    """(S, 2) float64 the highest column and row."""
    pitch: Tensor
    """(S, 2) float64 pixels from a column and from a row to the next."""
    offset: Tensor
    """(S, 1) float64 cells."""
    sides: Tensor
    """(S, 2) float64 pixels."""
    slack: float
    """Pixels: margin for the rounding of an anchor's coordinates."""

    @classmethod
    def of(cls, anchors: Anchors) -> GridShapes:
        """Tabulate an image's anchors."""
        rows, start = [], 0
        for level in anchors.levels:
            height, width = level.grid
            count = len(level.shapes)
            for place, sides in enumerate(level.shapes.tolist()):
                steps, last_cell = (count, width * count), (width - 1, height - 1)
                rows.append([start + place, *steps, *last_cell, *reversed(level.pitch), level.offset, *sides])
            start += level.count
        table = torch.tensor(rows, dtype=torch.float64, device=anchors.boxes.device)
        return cls(
            first=table[:, 0].long(),
            steps=table[:, 1:3].long(),
            last_cell=table[:, 3:5],
            pitch=table[:, 5:7],
            offset=table[:, 7:8],
            sides=table[:, 8:10],
            slack=_slack(anchors.boxes),
        )


def on_grids(boxes: Tensor, levels: Sequence[AnchorLevel]) -> bool:
    """Tell whether boxes (A, 4) are, up to rounding, the levels' shapes on their grids."""
    expected = torch.cat([_level_boxes(level) for level in levels])
    return len(boxes) == len(expected) and bool((boxes - expected).abs().max() <= _slack(boxes))


def _slack(boxes: Tensor) -> float:
    return _ROUNDING * float(boxes.abs().max())


def make_anchors(
    spec: AnchorSpec, image_size: int | tuple[int, int], grids: Sequence[tuple[int, int]] | None = None
) -> Anchors:
    """Place the anchors of ``spec`` over an image of ``image_size`` (H, W) or over a square one.

    ``grids`` gives rows and columns of each level's map where they are not side / stride by the spec's rounding, such
    as those of maps that a convolution without padding has made smaller: ``[x.shape[-2:] for x in maps]``. Cells stay a
    stride apart. Raises ValueError for a side below 1, a map without cells, a number of grids other than of levels, and
    for more cells than pixels if the spec is ``fitted``.

    Examples:
        >>> len(bw.anchors.make_anchors(bw.anchors.SSD300, 300))
        8732
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(size) < 1:
        raise ValueError(f"Expected an image size (H, W) of at least 1 but got {image_size}")
    if grids is None:
        grids = [
            (_cells(size[0], level, spec.rounding), _cells(size[1], level, spec.rounding)) for level in spec.levels
        ]
    if len(grids) != len(spec.levels) or any(len(grid) != 2 or min(grid) < 1 for grid in grids):
        raise ValueError(
            f"Expected {len(spec.levels)} grids of at least 1 row and column but got {[*map(tuple, grids)]}"
        )
    levels = []
    for level, (rows, columns) in zip(spec.levels, grids, strict=True):
        shapes = torch.tensor(level.shapes, dtype=torch.float64)
        if spec.clip == "sizes":
            shapes = shapes.minimum(shapes.new_tensor([size[1], size[0]]))
        pitch = (size[0] // rows, size[1] // columns) if spec.fitted else (level.stride, level.stride)
        if min(pitch) <= 0:
            raise ValueError(f"Expected at most a cell for every pixel but got a grid {rows, columns} on {size}")
        levels.append(AnchorLevel((rows, columns), level.stride, pitch, shapes, level.offset))
    boxes = torch.cat([_level_boxes(level) for level in levels])
    if spec.clip == "corners":
        boxes = clip_boxes(boxes, size)
    levels = [replace(level, shapes=level.shapes.float()) for level in levels]
    return Anchors(boxes.float(), tuple(levels), regular=spec.clip != "corners")


def _cells(side: int, level: LevelSpec, rounding: Rounding) -> int:
    # A stride such as 300 / 38 is rounded: without the margin 300 / (300 / 38) could give 39 cells.
    cells = side / level.stride
    return math.ceil(cells - 1e-9) if rounding == "ceil" else math.floor(cells + 1e-9)


def _level_boxes(level: AnchorLevel) -> Tensor:
    """Compute the boxes (rows x columns x S, 4) of one map in float64, so that rounding happens once, at the end."""
    y, x = (
        (torch.arange(cells, dtype=torch.float64) + level.offset) * pitch
        for cells, pitch in zip(level.grid, level.pitch, strict=True)
    )
    cy, cx = torch.meshgrid(y, x, indexing="ij")
    centers = torch.stack([cx, cy], dim=-1).reshape(-1, 1, 2)
    half = level.shapes[None] / 2
    return torch.cat([centers - half, centers + half], dim=-1).reshape(-1, 4)


def _without_second_square(spec: AnchorSpec) -> AnchorSpec:
    """Remove the larger square from the first map."""
    first, *others = spec.levels
    return replace(spec, levels=(replace(first, shapes=(first.shapes[0], *first.shapes[2:])), *others))


SSD300 = AnchorSpec.ssd((30, 60, 111, 162, 213, 264, 315), _SSD300_STRIDES, _SSD300_RATIOS)
"""8732 anchors at 300 x 300: the sizes that the authors of SSD use for Pascal VOC."""

SSD300_COCO = AnchorSpec.ssd((21, 45, 99, 153, 207, 261, 315), _SSD300_STRIDES, _SSD300_RATIOS)
"""8732 anchors at 300 x 300: their sizes for COCO, and those of torchvision's ssd300_vgg16 (which has clip="sizes")."""

SSD300_TF = SSD300_COCO
"""SSD-Tensorflow uses the COCO sizes for Pascal VOC too."""

SSD512 = AnchorSpec.ssd(
    (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
    (8, 16, 32, 64, 128, 256, 512),
    ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
)
"""24564 anchors at 512 x 512, Pascal VOC."""

SSD300_V1 = _without_second_square(
    AnchorSpec.from_bounds(0.2, 0.95, rule="authors", ratios=((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2, 3)))
)
"""7308 anchors at 300 x 300: those of the paper's first version, three on each cell of the first map."""

TINY_441 = AnchorSpec(
    (LevelSpec(32, tuple((224 * s * r, 224 * s / r) for s in (0.2, 0.4, 0.6) for r in (1, 2**0.5, 0.5**0.5))),)
)
"""441 anchors at 224 x 224: one map of 7 x 7 cells, three scales and three ratios."""

RETINANET = AnchorSpec.pyramid((8, 16, 32, 64, 128), (4, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)), (0.5, 1, 2))
"""RetinaNet's nine anchors per cell, not rounded to pixels."""

RPN = AnchorSpec.pyramid((4, 8, 16, 32, 64), (8,), (0.5, 1, 2))
"""FPN's three anchors per cell, not rounded to pixels."""
