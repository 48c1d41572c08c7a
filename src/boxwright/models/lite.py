"""The network of the default recipe: a light top-down pyramid and unshared heads on pretrained feature maps.

Pyramid after FPN (arXiv:1612.03144) with depthwise separable blocks; one prediction a cell, without a centre-ness
branch, after Generalized Focal Loss (arXiv:2006.04388).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.models.backbones import Backbone

_PRIOR_PROBABILITY = 0.01  # RetinaNet (arXiv:1708.02002), section 4.1: start from "nothing here"


class LiteHead(nn.Module):
    """Feature maps -> logits (B, A, K) and deltas (B, A, D), cells in level-row-column order.

    ``channels``: of each map, finest first; ``delta_bias`` (D,): where the deltas start.
    """

    def __init__(self, channels: list[int], num_classes: int, delta_bias: Tensor, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_pointwise(c, width) for c in channels)
        self.merges = nn.ModuleList(_separable(width, width) for _ in channels[:-1])
        self.towers = nn.ModuleList(
            nn.ModuleDict({"classes": _separable(width, width), "boxes": _separable(width, width)}) for _ in channels
        )
        self.logits = nn.ModuleList(_output(width, num_classes) for _ in channels)
        self.deltas = nn.ModuleList(_output(width, len(delta_bias)) for _ in channels)
        for logits, deltas in zip(self.logits, self.deltas, strict=True):
            nn.init.constant_(logits.bias, -math.log((1 - _PRIOR_PROBABILITY) / _PRIOR_PROBABILITY))
            deltas.bias.data.copy_(delta_bias)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        pyramid = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for level in reversed(range(len(self.merges))):
            coarse = F.interpolate(pyramid[level + 1], size=pyramid[level].shape[-2:], mode="nearest")
            pyramid[level] = self.merges[level](pyramid[level] + coarse)
        logits, deltas = [], []
        for feature, tower, class_output, box_output in zip(
            pyramid, self.towers, self.logits, self.deltas, strict=True
        ):
            logits.append(_flatten(class_output(tower["classes"](feature))))
            deltas.append(_flatten(box_output(tower["boxes"](feature))))
        return torch.cat(logits, 1), torch.cat(deltas, 1)


class LiteNet(nn.Module):
    """Backbone and head: normalised images (B, 3, H, W) -> logits (B, A, K), deltas (B, A, D)."""

    def __init__(self, backbone: Backbone, num_classes: int, delta_bias: Tensor, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = LiteHead([m.channels for m in backbone.maps], num_classes, delta_bias, width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.head(self.backbone(images))
        return logits, deltas


def _pointwise(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _separable(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        *_pointwise(channels, width),
    )


def _output(width: int, size: int) -> nn.Conv2d:
    layer = nn.Conv2d(width, size, 1)
    nn.init.normal_(layer.weight, std=0.01)
    return layer


def _flatten(cells: Tensor) -> Tensor:
    """(B, D, H, W) -> (B, H * W, D)."""
    return cells.permute(0, 2, 3, 1).flatten(1, 2)
