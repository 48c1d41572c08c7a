"""VGG16 (Simonyan & Zisserman 2015, arXiv:1409.1556, configuration D): the thirteen convolutions, as feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from boxwright.errors import RecipeError
from boxwright.models.timm_backbone import load_pretrained
from boxwright.parts import backbone
from boxwright.types import FeatureMap

# Convolutions of each block; the third pooling rounds up, so that 300 px give 38 and not 37 cells
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_ROUNDS_UP = 2
_MAPS = {
    8: FeatureMap(512, 8),  # conv4_3
    16: FeatureMap(512, 16),  # conv5_3
    32: FeatureMap(512, 32),  # pool5
}


@backbone
class VGG16(nn.Module):
    """VGG16 with any of its maps of strides 8 (conv4_3), 16 (conv5_3) and 32 (after pool5), finest first.

    ``features`` is numbered as in torchvision and timm, whose ImageNet weights fit.

    Raises:
        RecipeError: For other strides.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        if not set(strides) <= _MAPS.keys():
            raise RecipeError(f"vgg16 has maps of strides {list(_MAPS)}: the detector needs {list(strides)}")
        self.maps = tuple(_MAPS[stride] for stride in strides)
        layers: list[nn.Module] = []
        self._ends = []  # where each block ends, before its pooling
        channels = 3
        for block, widths in enumerate(_BLOCKS):
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            self._ends.append(len(layers))
            layers.append(nn.MaxPool2d(2, ceil_mode=block == _ROUNDS_UP))
        self.features = nn.Sequential(*layers)

    @property
    def stages(self) -> list[nn.Module]:
        """The five blocks, each with the pooling before it."""
        starts = [0, *self._ends[:-1]]
        return [self.features[start:end] for start, end in zip(starts, self._ends, strict=True)]

    def load(self, pretrained: bool | str) -> None:
        """Load the published weights, or those in a file."""
        load_pretrained(self, "vgg16", pretrained, features_only=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalized images (B, 3, H, W) to one (B, 512, H / stride, W / stride) map per stride."""
        cuts = {8: self._ends[3], 16: self._ends[4], 32: len(self.features)}
        maps, start, x = [], 0, images
        for feature_map in self.maps:
            end = cuts[feature_map.stride]
            x = self.features[start:end](x)
            maps.append(x)
            start = end
        return maps
