"""SSD300 and SSD512: single shot multibox detector (Liu et al. 2016, arXiv:1512.02325, sections 2 and 3).

VGG16 to conv5_3, pool5 3x3 with stride 1, conv6 3x3 x 1024 dilated by 6, conv7 1x1 and four or five more stages; 3x3
predictors on maps of 38, 19, 10, 5, 3 and 1 cells per side at 300 px, of 64, 32, 16, 8, 4, 2 and 1 at 512 px. Another
backbone can replace VGG16's maps of strides 8 and 16.

``ssd300-tf`` is SSD300 with SSD-Tensorflow's dropout, after conv6 and between conv7 and the stages: the predictors on
conv7 see all of it. The L2 norm's scale starts at 20 here as in the paper, and at 1 there.

``ssd300-pool`` ends as the paper's first version does: conv8_2 halves 5 cells to 3, and their mean is the last map.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import chosen_anchors
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.detector import Network
from boxwright.models.heads import flatten_head, init_bias
from boxwright.recipes import Recipe

_WIDE = 1024  # channels of conv6 and conv7
_SHORTEST = 1e-12  # lower limit of the length that a cell's features are divided by


class _Stage(NamedTuple):
    """A 1x1 convolution to ``narrow`` channels and another convolution to ``width``."""

    narrow: int
    width: int
    kernel: int
    stride: int
    padding: int


class _Variant(NamedTuple):
    """A published network: its input's side, and the stages after the backbone's two maps."""

    side: int
    stages: tuple[_Stage, ...]
    dropout: float = 0.0
    pooled: bool = False
    """Whether the last map is the mean of the one before."""


_FIRST = _Stage(256, 512, 3, 2, 1)
_HALF = _Stage(128, 256, 3, 2, 1)
_TWO_LESS = _Stage(128, 256, 3, 1, 0)  # cells per side
_TWO_TO_ONE = _Stage(128, 256, 4, 1, 1)
_SSD300 = _Variant(300, (_FIRST, _HALF, _TWO_LESS, _TWO_LESS))
_VARIANTS = {
    "ssd300": _SSD300,
    "ssd300-pool": _SSD300._replace(stages=(_FIRST, _HALF, _HALF), pooled=True),
    "ssd300-tf": _SSD300._replace(dropout=0.5),
    "ssd512": _Variant(512, (_FIRST, _HALF, _HALF, _HALF, _TWO_TO_ONE)),
}


class L2Norm(nn.Module):
    """Each cell's features scaled to length ``weight`` (C,), which starts at 20 (ParseNet, arXiv:1506.04579)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape and type, by way of float32: in fp16 the epsilon would be 0."""
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        unit: Tensor = x / length.clamp(min=_SHORTEST)
        return (unit * self.weight.view(1, -1, 1, 1)).to(x.dtype)


class SSDNet(nn.Module):
    """Backbone, further stages and predictors: images (B, 3, S, S) -> logits (B, A, K + 1), deltas (B, A, D)."""

    def __init__(self, backbone: Backbone, variant: _Variant, shapes: list[int], logits: Tensor, dim: int) -> None:
        """Build it; ``shapes``: anchors per cell of each map; ``logits`` (K',): initial outputs; ``size`` of deltas."""
        super().__init__()
        self.backbone = backbone
        fine, coarse = (m.channels for m in backbone.maps)
        self.norm = L2Norm(fine)
        self.dropout = nn.Dropout(variant.dropout) if variant.dropout else nn.Identity()
        self.wide = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(coarse, _WIDE, 3, padding=6, dilation=6),
            nn.Sequential(nn.ReLU(inplace=True), self.dropout),
            nn.Conv2d(_WIDE, _WIDE, 1),
            nn.ReLU(inplace=True),
        )
        widths = [_WIDE, *(stage.width for stage in variant.stages)]
        self.stages = nn.ModuleList(_make_stage(*pair) for pair in zip(widths, variant.stages, strict=False))
        if variant.pooled:
            self.stages.append(nn.AdaptiveAvgPool2d(1))
            widths.append(widths[-1])
        self.predictors = Predictors([fine, *widths], shapes, logits, dim)
        for module in (*self.wide, *self.stages.modules()):
            _initialize(module)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, S, S) to logits (B, A, K') and deltas (B, A, D)."""
        fine, coarse = self.backbone(images)
        maps = [self.norm(fine), self.wide(coarse)]
        x = self.dropout(maps[-1])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        logits, deltas = self.predictors(maps)
        return logits, deltas


class Predictors(nn.Module):
    """A 3x3 convolution on each map for the logits and one for the deltas, cells in level-row-column-shape order.

    ``logits`` (K',): initial outputs, see ``init_class_bias``.
    """

    def __init__(self, channels: list[int], shapes: list[int], logits: Tensor, dim: int) -> None:
        super().__init__()
        self.num_outputs, self.dim = len(logits), dim
        pairs = list(zip(channels, shapes, strict=True))
        self.logits = nn.ModuleList(nn.Conv2d(c, n * self.num_outputs, 3, padding=1) for c, n in pairs)
        self.deltas = nn.ModuleList(nn.Conv2d(c, n * dim, 3, padding=1) for c, n in pairs)
        for module in self.modules():
            _initialize(module)
        for layer, count in zip(self.logits, shapes, strict=True):
            layer.bias = nn.Parameter(logits.repeat(count))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map one (B, C, H, W) per level to logits (B, A, K') and deltas (B, A, D)."""
        logits = [flatten_head(conv(x), self.num_outputs) for conv, x in zip(self.logits, maps, strict=True)]
        deltas = [flatten_head(conv(x), self.dim) for conv, x in zip(self.deltas, maps, strict=True)]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


def init_class_bias(num_outputs: int, classes: int) -> Tensor:
    """Compute the initial logits (num_outputs,) of a head.

    With a softmax they are 0, as in the authors' code, since mining chooses what to learn from; with a sigmoid, which
    may learn from all anchors, they mean "nothing here".
    """
    return init_bias(num_outputs, classes) if num_outputs == classes else torch.zeros(num_outputs)


def build_ssd(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network of a recipe.

    Raises:
        RecipeError: For another input size than the detector's, anchors of other maps, and a backbone without VGG16's
            maps.
    """
    variant = _VARIANTS[recipe.detector]
    spec = chosen_anchors(recipe)
    if recipe.image_size != variant.side or [level.stride for level in spec.levels] != list(recipe.strides):
        raise RecipeError(
            f"{recipe.detector} has image_size {variant.side} and anchors on {len(recipe.strides)} maps of strides "
            f"{list(recipe.strides)}: {recipe.image_size}, {recipe.anchors}"
        )
    if recipe.resize == "shortest":
        raise RecipeError(f"{recipe.detector} has square input: resize can be squash or pad but not shortest")
    backbone = make_backbone(recipe, (8, 16), pretrained)
    logits = init_class_bias(num_outputs, len(recipe.classes))
    net = SSDNet(backbone, variant, [len(level.shapes) for level in spec.levels], logits, coder.dim)
    return Network(net, spec, backbone.mean, backbone.std)


def _make_stage(channels: int, stage: _Stage) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, stage.narrow, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(stage.narrow, stage.width, stage.kernel, stride=stage.stride, padding=stage.padding),
        nn.ReLU(inplace=True),
    )


def _initialize(module: nn.Module) -> None:
    """Initialize as the authors do: Xavier weights, zero bias."""
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
