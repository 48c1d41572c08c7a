"""VGG16 (Simonyan & Zisserman 2015, arXiv:1409.1556, configuration D): the thirteen convolutions, as feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from boxwright.errors import RecipeError
from boxwright.models.backbones import Backbone, FeatureMap, load_pretrained
from boxwright.recipes import Recipe

# Convolutions of each block; the third pooling rounds up, so that 300 px make 38 and not 37 cells
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_ROUNDS_UP = 2
_MAPS = {
    8: FeatureMap(3, "conv4_3", 512, 8),
    16: FeatureMap(4, "conv5_3", 512, 16),
    32: FeatureMap(5, "pool5", 512, 32),
}


class VGG16(nn.Module):
    """The maps of strides 8 (conv4_3), 16 (conv5_3) and 32 (after pool5), those asked for, finest first.

    ``features`` is numbered as in torchvision and timm, whose ImageNet weights fit. ``freeze``: the first blocks get no
    gradient. Raises RecipeError for other strides, more than 5 frozen blocks and a file of weights that can't be used,
    MissingWeights where the published ones can't be fetched.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, strides: Sequence[int], *, pretrained: bool | str = True, freeze: int = 0) -> None:
        super().__init__()
        if not set(strides) <= _MAPS.keys() or not 0 <= freeze <= len(_BLOCKS):
            raise RecipeError(
                f"Expected strides of {list(_MAPS)} and freeze in 0..5 but got {list(strides)} and {freeze}"
            )
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
        if pretrained:
            load_pretrained(self, "vgg16", pretrained, features_only=False)
        self.features[: self._ends[freeze - 1] if freeze else 0].requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images -> one (B, 512, H / stride, W / stride) map per stride."""
        cuts = {8: self._ends[3], 16: self._ends[4], 32: len(self.features)}
        maps, start, x = [], 0, images
        for feature_map in self.maps:
            end = cuts[feature_map.stride]
            x = self.features[start:end](x)
            maps.append(x)
            start = end
        return maps


def make_backbone(recipe: Recipe, strides: Sequence[int], pretrained: bool | str) -> VGG16 | Backbone:
    """The recipe's backbone, with the maps of these strides."""
    if recipe.backbone == "vgg16":
        return VGG16(strides, pretrained=pretrained, freeze=recipe.freeze)
    return Backbone(
        recipe.backbone,
        strides,
        pretrained=pretrained,
        freeze=recipe.freeze,
        freeze_depthwise=recipe.freeze_depthwise if recipe.pretrained else 0,
        norm_mode=recipe.norm_mode,
    )
