"""NanoDet-g (RangiLyu, github.com/RangiLyu/nanodet, config nanodet-g): plain 3x3 convolutions.

A cross stage partial network (CSPNet, arXiv:1911.11929), a path aggregation neck (PANet, arXiv:1803.01534) whose
maps are resized and added and nothing else, and one prediction a cell (Generalized Focal Loss, arXiv:2006.04388). The
published weights have their BatchNorms folded into the convolutions, so that there are none but in coarser maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import one_a_cell
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.coarser import Coarser, split_strides
from boxwright.models.detector import Network
from boxwright.models.heads import flatten_head, init_bias, init_deltas, output_layer
from boxwright.models.kept_weights import load_kept
from boxwright.parts import backbone
from boxwright.recipes import Recipe
from boxwright.types import FeatureMap

_STEM = 32
_SLOPE = 0.1
# Of each block: channels, ``Halves``, stride
_BLOCKS = ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 3, 2))
_MAPS = {4: 0, 8: 1, 16: 2, 32: 3}
"""Stride -> the block whose end has this map."""


class Halves(nn.Module):
    """Two convolutions, each making half of the output: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width // 2)
        self.second = _conv(width // 2, width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        half = self.first(x)
        return torch.cat([self.second(half), half], 1)


class PartialBlock(nn.Module):
    """Half of the output skips all but the first convolution: (B, C, H, W) -> (B, 2 width, H / stride, W / stride)."""

    def __init__(self, channels: int, width: int, halves: int, stride: int) -> None:
        super().__init__()
        self.entry = _conv(channels, width, stride)
        self.halves = nn.Sequential(*(Halves(width) for _ in range(halves)))
        self.exit = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 2 width, H / stride, W / stride)."""
        entered = self.entry(x)
        return torch.cat([self.exit(self.halves(entered)), entered], 1)


class NanoDetG(nn.Module):
    """NanoDet-g's network with any of its maps of strides 4, 8, 16 and 32, finest first.

    Raises:
        RecipeError: For other strides.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        if not set(strides) <= _MAPS.keys():
            raise RecipeError(f"nanodet_g has maps of strides {list(_MAPS)}: the detector needs {list(strides)}")
        self.maps = tuple(FeatureMap(2 * _BLOCKS[_MAPS[stride]][0], stride) for stride in strides)
        self.stem = nn.Sequential(_conv(3, _STEM, 2), nn.MaxPool2d(3, 2, 1))
        channels, blocks = _STEM, []
        for width, halves, stride in _BLOCKS[: _MAPS[max(strides)] + 1]:
            blocks.append(PartialBlock(channels, width, halves, stride))
            channels = 2 * width
        self.blocks = nn.Sequential(*blocks)
        self._ends = [_MAPS[stride] for stride in strides]

    @property
    def stages(self) -> list[nn.Module]:
        """The stem and the blocks."""
        return [self.stem, *self.blocks]

    def load(self, pretrained: bool | str) -> None:
        """Load the weights of the start nano416, or those in a detector's file; see ``load_kept``."""
        load_kept(self, "nano416", pretrained)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalized images (B, 3, H, W) to one (B, C, H / stride, W / stride) map per stride, rounded up."""
        x, maps = self.stem(images), []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in self._ends:
                maps.append(x)
        return maps


@backbone
def nanodet_g(strides: Sequence[int]) -> NanoDetG:
    """Make NanoDet-g's network, trained on COCO, with maps of these strides, finest first.

    Raises:
        RecipeError: For a stride that it lacks.
    """
    return NanoDetG(strides)


class NanoHead(nn.Module):
    """Head from feature maps to logits (B, A, K') and deltas (B, A, D), cells in level-row-column order.

    ``channels``: of each map, finest first; ``logits`` (K',) and ``deltas`` (D,): initial outputs.
    """

    def __init__(self, channels: list[int], logits: Tensor, deltas: Tensor, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.towers = nn.ModuleList(_conv(width, width) for _ in channels)
        self.num_outputs, self.size = len(logits), len(deltas)
        self.logits = nn.ModuleList(output_layer(width, logits, side=1) for _ in channels)
        self.deltas = nn.ModuleList(output_layer(width, deltas, side=1) for _ in channels)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map one (B, C, H, W) per level to logits (B, A, K') and deltas (B, A, D)."""
        maps = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for level in reversed(range(len(maps) - 1)):
            maps[level] = maps[level] + _resized(maps[level + 1], maps[level])
        for level in range(1, len(maps)):
            maps[level] = maps[level] + _resized(maps[level - 1], maps[level])
        seen = [tower(x) for tower, x in zip(self.towers, maps, strict=True)]
        logits = [flatten_head(layer(x), self.num_outputs) for layer, x in zip(self.logits, seen, strict=True)]
        deltas = [flatten_head(layer(x), self.size) for layer, x in zip(self.deltas, seen, strict=True)]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


class NanoDet(nn.Module):
    """Backbone and head: normalized images (B, 3, H, W) -> logits (B, A, K'), deltas (B, A, D).

    ``coarser``: strides of further maps, see ``split_strides``.
    """

    def __init__(
        self, backbone: Backbone, logits: Tensor, deltas: Tensor, width: int, coarser: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.coarser = Coarser(backbone.maps, coarser, width)
        self.head = NanoHead(self.coarser.channels, logits, deltas, width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and deltas at all anchors."""
        logits, deltas = self.head(self.coarser(self.backbone(images)))
        return logits, deltas


def build_nanodet(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build a recipe's network. Raises RecipeError for several shapes per cell, and for strides without a map."""
    spec = one_a_cell(recipe)
    strides, coarser = split_strides(recipe.strides)
    backbone = make_backbone(recipe, strides, pretrained)
    logits = init_bias(num_outputs, len(recipe.classes))
    net = NanoDet(backbone, logits, init_deltas(coder), recipe.width, coarser)
    return Network(net, spec, backbone.mean, backbone.std)


def _conv(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """Make a 3x3 convolution with a bias and its activation."""
    layer = nn.Conv2d(channels, width, 3, stride, 1)
    nn.init.kaiming_normal_(layer.weight, _SLOPE)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.LeakyReLU(_SLOPE, inplace=True))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
