"""Feature pyramid (FPN, arXiv:1612.03144) with RetinaNet's two coarser maps (arXiv:1708.02002, section 4).

P3 to P5 come from the backbone's maps of strides 8, 16 and 32, P6 and P7 by 3x3 convolutions of stride 2. The paper
makes P6 of the backbone's last map; here it is made of P5, as in torchvision's RetinaNet and FCOS, whose weights fit:
with ResNet-50 that is 4.1 million parameters fewer.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

BACKBONE_STRIDES = (8, 16, 32)
"""Of the maps that a pyramid is built on."""

PYRAMID_STRIDES = (8, 16, 32, 64, 128)
"""Of its own maps, P3 to P7."""


class FPN(nn.Module):
    """Three maps of a backbone, finest first -> P3 to P7 of ``width`` channels each.

    ``channels``: of the backbone's maps. Every convolution has a bias and no norm.
    """

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(channels, width, LastLevelP6P7(width, width))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """(B, C, H / stride, W / stride) maps of strides 8, 16 and 32 -> (B, width, ...) of strides 8 to 128."""
        return list(self.pyramid({str(level): x for level, x in enumerate(maps)}).values())
