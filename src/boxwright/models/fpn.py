"""Feature pyramid (FPN, arXiv:1612.03144) with additional coarser maps.

RetinaNet's (arXiv:1708.02002, section 4) has P3 to P5 from the backbone's maps of strides 8, 16 and 32, and P6 and P7
by 3x3 convolutions of stride 2. The paper makes P6 from the backbone's last map; here it is made from P5, as in
torchvision's RetinaNet and FCOS, so that their weights fit: with ResNet-50 that saves 4.1 million parameters. Faster
R-CNN's has P2 to P5 of strides 4 to 32, and for P6 every other cell of P5.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

BACKBONE_STRIDES = (8, 16, 32)
"""Strides of the backbone's maps below RetinaNet's pyramid."""

TWO_STAGE_STRIDES = (4, 8, 16, 32)
"""Strides of the backbone's maps below Faster R-CNN's pyramid."""

PYRAMID_STRIDES = (8, 16, 32, 64, 128)
"""Strides of RetinaNet's own maps, P3 to P7."""


class FPN(nn.Module):
    """Pyramid with ``width`` channels on the maps of a backbone, finest first, plus coarser maps.

    ``channels``: of the backbone's maps. Every convolution has a bias and no norm. ``coarser``: two maps by
    convolutions, or one "pooled".
    """

    def __init__(self, channels: list[int], width: int, coarser: Literal["convolved", "pooled"] = "convolved") -> None:
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

        super().__init__()
        top = LastLevelP6P7(width, width) if coarser == "convolved" else LastLevelMaxPool()
        self.pyramid = FeaturePyramidNetwork(channels, width, top)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Map (B, C, H / stride, W / stride) to (B, width, ...) of the same strides, followed by the coarser ones."""
        return list(self.pyramid({str(level): x for level, x in enumerate(maps)}).values())
