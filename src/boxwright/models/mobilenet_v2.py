"""MobileNetV2 (arXiv:1801.04381, table 2) as in TensorFlow's detection models: its padding, BatchNorm with eps 1e-3.

Names of weights are timm's for ``mobilenetv2_100``, which pads equally on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from boxwright.errors import RecipeError
from boxwright.models.efficientnet_lite import FirstBlock, InvertedResidual, NormAct, conv, start
from boxwright.models.kept_weights import load_kept
from boxwright.models.layers import fold_batch_norm
from boxwright.parts import backbone
from boxwright.types import FeatureMap

_STEM = 32
_HEAD = 1280
# Of each stage: blocks, stride of the first block, factor of expansion, channels
_STAGES = (
    (1, 1, 1, 16),
    (2, 2, 6, 24),
    (3, 2, 6, 32),
    (4, 2, 6, 64),
    (3, 1, 6, 96),
    (3, 2, 6, 160),
    (1, 1, 6, 320),
)
_MAPS = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}
"""Stride -> the stage whose end has this map."""
_WIDENED = 5
"""The stage whose first block's wide map, still of stride 16, is one of SSDLite's two."""


class MobileBody(nn.Module):
    """Network from normalized images to the maps at the ends of some stages (from 0); later stages are dropped.

    ``wide``: instead the two maps that SSDLite uses: 576 channels of stride 16 inside the sixth stage's first block,
    and 1280 of stride 32 after a last convolution.
    """

    def __init__(self, ends: Sequence[int], *, wide: bool) -> None:
        super().__init__()
        self.conv_stem = conv(3, _STEM, 3, 2)
        self.bn1 = NormAct(_STEM, nn.ReLU6(inplace=True))
        channels, stages = _STEM, []
        for count, stride, factor, width in _STAGES[: None if wide else max(ends) + 1]:
            blocks: list[nn.Module] = []
            for place in range(count):
                if factor == 1:
                    blocks.append(FirstBlock(channels, width, 3))
                else:
                    blocks.append(InvertedResidual(channels, width, 3, 1 if place else stride, factor))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        if wide:
            self.conv_head = conv(channels, _HEAD)
            self.bn2 = NormAct(_HEAD, nn.ReLU6(inplace=True))
        start(self)
        self._ends, self._wide = frozenset(ends), wide

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to the maps, finest first."""
        x, maps = self.bn1(self.conv_stem(images)), []
        for place, stage in enumerate(cast(Sequence[nn.Sequential], self.blocks)):
            if self._wide and place == _WIDENED:
                first = cast(InvertedResidual, stage[0])
                wide = first.widen(x)
                maps.append(wide)
                x = stage[1:](first.narrow(wide, x))
            else:
                x = stage(x)
            if not self._wide and place in self._ends:
                maps.append(x)
        return [*maps, self.bn2(self.conv_head(x))] if self._wide else maps


class MobileNetV2(nn.Module):
    """MobileNetV2 with any of its maps of strides 2, 4, 8, 16 and 32, finest first; see ``MobileBody`` for ``wide``."""

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    in_order = True
    """Each BatchNorm is used where it is defined, after its convolution: folding need not be tested."""

    def __init__(self, strides: Sequence[int], *, wide: bool = False) -> None:
        super().__init__()
        known = (16, 32) if wide else tuple(_MAPS)
        if (wide and tuple(strides) != known) or not set(strides) <= set(known):
            raise RecipeError(
                f"mobilenetv2_ssdlite has maps of strides {list(known)}: Expected none but {list(strides)}"
            )
        narrow = [_STAGES[_MAPS[stride]][-1] for stride in strides]
        channels = [_STAGES[_WIDENED - 1][-1] * 6, _HEAD] if wide else narrow
        self.maps = tuple(map(FeatureMap, channels, strides))
        self.body = MobileBody([_MAPS[stride] for stride in strides], wide=wide)

    @property
    def stages(self) -> list[nn.Module]:
        """The modules that lead to each of the five maps from the one before; the last has a further convolution."""
        blocks = list(self.body.blocks)
        bounds = (0, *(end + 1 for end in _MAPS.values()))
        stages = [blocks[first:stop] for first, stop in pairwise(bounds)]
        stages[0] = [self.body.conv_stem, self.body.bn1, *stages[0]]
        stages[-1] += [self.body.conv_head, self.body.bn2] if hasattr(self.body, "conv_head") else []
        return [nn.ModuleList(stage) for stage in stages]

    def load(self, pretrained: bool | str) -> None:
        """Load the weights of the start ssdlite-person, or those in a detector's file; see ``load_kept``."""
        load_kept(self, "ssdlite-person", pretrained)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalized images (B, 3, H, W) to one (B, C, H / stride, W / stride) map per stride, rounded up."""
        maps: list[Tensor] = self.body(images)
        return maps

    def fold_frozen(self) -> None:
        """Fold frozen BatchNorm into frozen convolutions; each directly follows its own."""
        fold_batch_norm(self.body)


@backbone
def mobilenetv2_ssdlite(strides: Sequence[int], wide: bool = False) -> MobileNetV2:
    """Make the MobileNetV2 of a person detector, first trained on COCO, with maps of these strides, finest first.

    ``wide``: the maps of strides 16 and 32 that SSDLite uses.

    Raises:
        RecipeError: For strides that it lacks.
    """
    return MobileNetV2(strides, wide=wide)
