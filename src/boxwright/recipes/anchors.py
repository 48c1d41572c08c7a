"""The anchors that a recipe can name: functions of their options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from boxwright import anchors
from boxwright.anchors import AnchorSpec, BoundsRule, Clip, LevelSpec, Rounding, Shape
from boxwright.parts import anchor_spec


@anchor_spec
def squares(strides: Sequence[float] = (8, 16, 32), scale: float = 4.0) -> AnchorSpec:
    """Place one square of side ``scale`` x stride in the middle of every cell (as in ATSS, arXiv 1912.02424)."""
    return AnchorSpec.squares(strides, scale)


@anchor_spec
def shapes(strides: Sequence[float] = (8, 16, 32), levels: str = "32x32 / 64x64 / 128x128") -> AnchorSpec:
    """Place any boxes in the middle of every cell: "16x20 30x31 / 64x60" is two (w, h) on the first map, then one."""
    return AnchorSpec.shapes(strides, levels)


@anchor_spec
def ssd300(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place 8732 anchors at 300 x 300: the sizes that the authors of SSD use for Pascal VOC."""
    return replace(anchors.SSD300, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def ssd300_v1(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place 7308 anchors at 300 x 300: those of the paper's first version, three on each cell of the first map."""
    return replace(anchors.SSD300_V1, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def ssd300_coco(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place 8732 anchors at 300 x 300: the sizes that the authors of SSD use for COCO."""
    return replace(anchors.SSD300_COCO, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def ssd300_tf(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place SSD-Tensorflow's anchors, which use the COCO sizes for Pascal VOC too."""
    return replace(anchors.SSD300_TF, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def ssd512(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place 24564 anchors at 512 x 512: the sizes that the authors of SSD use for Pascal VOC."""
    return replace(anchors.SSD512, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def ssdlite300(clip: Clip | None = None) -> AnchorSpec:
    """Place 1917 anchors at 300 x 300: those of TensorFlow's SSDLite, sizes rising from 20 to 95 % over six maps."""
    ratios = (1, 2, 0.5, 3, 0.3333)  # as rounded there
    sizes = (60, 105, 150, 195, 240, 285, 300)
    first: tuple[Shape, ...] = ((30, 30), *(_of_area(60, ratio) for ratio in ratios[1:3]))
    shapes = [first]
    for size, following in pairwise(sizes[1:]):
        between = math.sqrt(size * following)
        shapes.append((*(_of_area(size, ratio) for ratio in ratios), (between, between)))
    levels = (LevelSpec(300 / cells, level) for cells, level in zip((19, 10, 5, 3, 2, 1), shapes, strict=True))
    return AnchorSpec(tuple(levels), clip)


def _of_area(side: float, ratio: float) -> Shape:
    """Return (w, h) with a square's area and a given w / h."""
    return side * math.sqrt(ratio), side / math.sqrt(ratio)


@anchor_spec
def ssd_bounds(
    s_min: float = 0.2,
    s_max: float = 0.9,
    image_size: int = 300,
    strides: Sequence[float] = (8, 16, 32, 64, 100, 300),
    ratios: Sequence[Sequence[float]] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    clip: Clip | None = None,
    rule: BoundsRule = "paper",
    first: float | None = None,
) -> AnchorSpec:
    """Place SSD's boxes, sizes rising from s_min to s_max of ``image_size``, see ``AnchorSpec.from_bounds``."""
    return AnchorSpec.from_bounds(
        s_min, s_max, image_size=image_size, strides=strides, ratios=ratios, clip=clip, rule=rule, first=first
    )


@anchor_spec
def tiny_441(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place 441 anchors at 224 x 224: one map of 7 x 7 cells, three scales and three ratios."""
    return replace(anchors.TINY_441, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def retinanet(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place RetinaNet's nine anchors per cell, not rounded to pixels."""
    return replace(anchors.RETINANET, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def rpn(clip: Clip | None = None, fitted: bool = False, rounding: Rounding = "ceil") -> AnchorSpec:
    """Place FPN's three anchors per cell, not rounded to pixels."""
    return replace(anchors.RPN, clip=clip, fitted=fitted, rounding=rounding)


@anchor_spec
def torchvision(
    sizes: Sequence[Sequence[float]] = ((32,), (64,), (128,), (256,), (512,)),
    ratios: Sequence[float] = (0.5, 1, 2),
    strides: Sequence[float] = (4, 8, 16, 32, 64),
) -> AnchorSpec:
    """Place the boxes of torchvision's ``AnchorGenerator`` with one tuple of sizes and the same ratios per level."""
    return AnchorSpec.torchvision(sizes, ratios, strides)
