"""EfficientNet-Lite0 with TensorFlow's padding, the same as timm's ``tf_efficientnet_lite0``, without importing timm.

Blocks of MobileNetV2 (arXiv:1801.04381) in the numbers and widths of EfficientNet-B0 (arXiv:1905.11946), with ReLU6 and
without squeeze and excitation. Names of weights, initial values and outputs are timm's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.errors import RecipeError
from boxwright.models.layers import fold_batch_norm
from boxwright.models.timm_backbone import load_pretrained
from boxwright.models.weights import lite0_weights
from boxwright.parts import backbone
from boxwright.types import FeatureMap

_STEM = 32
# Of each stage: blocks, kernel, stride of the first block, factor of expansion, channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Stride -> the stage whose end has this map
_MAPS = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}


class SamePadded(nn.Conv2d):
    """Convolution of stride 2 that makes one cell of every two pixels, with TensorFlow's padding.

    It pads more below and on the right than above and on the left.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / 2, W / 2), rounded up."""
        (down, right), (kernel, _) = x.shape[-2:], self.kernel_size
        rows, columns = (max((math.ceil(side / 2) - 1) * 2 + kernel - side, 0) for side in (down, right))
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


class NormAct(nn.BatchNorm2d):
    """BatchNorm followed by the activation ``act``."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels, eps=1e-3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        activated: Tensor = self.act(super().forward(x))
        return activated


class FirstBlock(nn.Module):
    """Depthwise convolution, then a pointwise one, without expansion."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = conv(channels, channels, kernel, groups=channels)
        self.bn1 = NormAct(channels, nn.ReLU6(inplace=True))
        self.conv_pw = conv(channels, width)
        self.bn2 = NormAct(width, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width, H, W)."""
        narrow: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return narrow


class InvertedResidual(nn.Module):
    """Pointwise convolution to more channels, depthwise one, pointwise one to few; adds the input if shapes agree."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = channels * factor
        self.adds = stride == 1 and channels == width
        self.conv_pw = conv(channels, wide)
        self.bn1 = NormAct(wide, nn.ReLU6(inplace=True))
        self.conv_dw = conv(wide, wide, kernel, stride, groups=wide)
        self.bn2 = NormAct(wide, nn.ReLU6(inplace=True))
        self.conv_pwl = conv(wide, width)
        self.bn3 = NormAct(width, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width, H / stride, W / stride), rounded up."""
        return self.narrow(self.widen(x), x)

    def widen(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the map with more channels between the first two convolutions."""
        wide: Tensor = self.bn1(self.conv_pw(x))
        return wide

    def narrow(self, wide: Tensor, x: Tensor) -> Tensor:
        """Compute the output of ``forward`` from its input ``x`` and the widened map."""
        narrow: Tensor = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(wide))))
        return narrow + x if self.adds else narrow


class LiteBody(nn.Module):
    """Network from normalized images to the maps at the ends of some stages (from 0); later stages are dropped."""

    def __init__(self, ends: Sequence[int]) -> None:
        super().__init__()
        self.conv_stem = conv(3, _STEM, 3, 2)
        self.bn1 = NormAct(_STEM, nn.ReLU6(inplace=True))
        for _ in range(2):  # timm draws the numbers of two such convolutions here: a seed then gives the same weights
            nn.Conv2d(8, 8, 1)
        channels, stages = _STEM, []
        for count, kernel, stride, factor, width in _STAGES:
            blocks: list[nn.Module] = []
            for place in range(count):
                if factor == 1:
                    blocks.append(FirstBlock(channels, width, kernel))
                else:
                    blocks.append(InvertedResidual(channels, width, kernel, 1 if place else stride, factor))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        start(self)
        self.blocks = self.blocks[: max(ends) + 1]  # after all have drawn their numbers
        self._ends = frozenset(ends)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to one map per end."""
        x, maps = self.bn1(self.conv_stem(images)), []
        for place, stage in enumerate(self.blocks):
            x = stage(x)
            if place in self._ends:
                maps.append(x)
        return maps


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with any of its maps of strides 2, 4, 8, 16 and 32, finest first.

    Raises:
        RecipeError: For other strides.
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    in_order = True
    """Each BatchNorm is used where it is defined, after its convolution: folding need not be tested."""

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        if unknown := [stride for stride in strides if stride not in _MAPS]:
            raise RecipeError(f"tf_efficientnet_lite0 has no map of stride {unknown[0]}: it has {list(_MAPS)}")
        self.maps = tuple(FeatureMap(_STAGES[_MAPS[stride]][-1], stride) for stride in strides)
        self.body = LiteBody([_MAPS[stride] for stride in strides])

    @property
    def stages(self) -> list[nn.Module]:
        """The modules that lead to each of the five maps from the one before; none after the last map that is used."""
        blocks = list(self.body.blocks)
        starts = (0, *(end + 1 for end in _MAPS.values()))
        stages = [blocks[start:stop] for start, stop in pairwise(starts)]
        stages[0] = [self.body.conv_stem, self.body.bn1, *stages[0]]
        return [nn.ModuleList(stage) for stage in stages]

    def load(self, pretrained: bool | str) -> None:
        """Load the published weights, which install with the package, or those in a file.

        Raises:
            RecipeError: If the file cannot be used.
        """
        if isinstance(pretrained, str):
            load_pretrained(self.body, "tf_efficientnet_lite0", pretrained)
            return
        own = self.body.state_dict()
        self.body.load_state_dict({key: value for key, value in lite0_weights().items() if key in own})

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalized images (B, 3, H, W) to one (B, C, H / stride, W / stride) map per stride, rounded up."""
        maps: list[Tensor] = self.body(images)
        return maps

    def fold_frozen(self) -> None:
        """Fold frozen BatchNorm into frozen convolutions; each directly follows its own."""
        fold_batch_norm(self.body)


@backbone
def tf_efficientnet_lite0(strides: Sequence[int]) -> EfficientNetLite0:
    """Make EfficientNet-Lite0 with maps of these strides, finest first; raises RecipeError for other strides."""
    return EfficientNetLite0(strides)


def conv(channels: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Make a convolution without bias, padded as TensorFlow does."""
    if stride == 2:
        return SamePadded(channels, width, kernel, 2, groups=groups, bias=False)
    return nn.Conv2d(channels, width, kernel, padding=kernel // 2, groups=groups, bias=False)


def start(body: nn.Module) -> None:
    """Initialize with normal weights of variance 2 / fan out."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
