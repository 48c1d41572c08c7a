"""The network of the default recipe: a light top-down pyramid and separate heads on pretrained feature maps.

Pyramid after FPN (arXiv:1612.03144) with depthwise separable blocks; one prediction per cell, without a centerness
branch, after Generalized Focal Loss (arXiv:2006.04388).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.coding import BoxCoder
from boxwright.models.anchoring import one_a_cell
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.coarser import Coarser, split_strides
from boxwright.models.detector import Network
from boxwright.models.heads import flatten_head, init_bias, init_deltas, output_layer
from boxwright.recipes import Recipe


class LiteHead(nn.Module):
    """Head from feature maps to logits (B, A, K') and deltas (B, A, D), cells in level-row-column order.

    ``channels``: of each map, finest first; ``logits`` (K',) and ``deltas`` (D,): initial outputs.
    """

    def __init__(self, channels: list[int], logits: Tensor, deltas: Tensor, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_pointwise(c, width) for c in channels)
        self.merges = nn.ModuleList(_separable(width, width) for _ in channels[:-1])
        self.num_outputs, self.size = len(logits), len(deltas)
        self.logits = nn.ModuleList(_tower(width, logits) for _ in channels)
        self.deltas = nn.ModuleList(_tower(width, deltas) for _ in channels)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map one (B, C, H, W) per level to logits (B, A, K') and deltas (B, A, D)."""
        pyramid = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for level in reversed(range(len(self.merges))):
            coarse = F.interpolate(pyramid[level + 1], size=pyramid[level].shape[-2:], mode="nearest")
            pyramid[level] = self.merges[level](pyramid[level] + coarse)
        logits = [
            flatten_head(tower(feature), self.num_outputs) for tower, feature in zip(self.logits, pyramid, strict=True)
        ]
        deltas = [flatten_head(tower(feature), self.size) for tower, feature in zip(self.deltas, pyramid, strict=True)]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


class LiteNet(nn.Module):
    """Backbone and head: normalized images (B, 3, H, W) -> logits (B, A, K'), deltas (B, A, D).

    ``coarser``: strides of further maps, see ``split_strides``.
    """

    def __init__(
        self, backbone: Backbone, logits: Tensor, deltas: Tensor, width: int, coarser: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.coarser = Coarser(backbone.maps, coarser, width)
        self.head = LiteHead(self.coarser.channels, logits, deltas, width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and deltas at all anchors."""
        logits, deltas = self.head(self.coarser(self.backbone(images)))
        return logits, deltas


def _pointwise(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _separable(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        *_pointwise(channels, width),
    )


def _tower(width: int, bias: Tensor) -> nn.Sequential:
    """Make a block and the output layer, which starts near ``bias`` (D,)."""
    output = output_layer(width, bias, side=1)
    return nn.Sequential(_separable(width, width), output)


def build_lite(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build a recipe's network. Raises RecipeError for several shapes per cell, and for strides without a map."""
    spec = one_a_cell(recipe)
    strides, coarser = split_strides(recipe.strides)
    backbone = make_backbone(recipe, strides, pretrained)
    logits = init_bias(num_outputs, len(recipe.classes))
    net = LiteNet(backbone, logits, init_deltas(coder), recipe.width, coarser)
    return Network(net, spec, backbone.mean, backbone.std)
