"""SSD300: single shot multibox detector (Liu et al. 2016, arXiv:1512.02325, section 2 and figure 2).

VGG16 to conv5_3, pool5 3x3 with stride 1, conv6 3x3 x 1024 dilated by 6, conv7 1x1 and four more stages; 3x3 predictors
on six maps of 38, 19, 10, 5, 3 and 1 cells a side. Another backbone stands in for VGG16's maps of strides 8 and 16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.anchors import AnchorSpec
from boxwright.choices import resolve_choice
from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.backbones import Backbone
from boxwright.models.detector import Network
from boxwright.models.vgg import VGG16, make_backbone
from boxwright.recipes import Recipe

_SIDE = 300
_GRIDS = (38, 19, 10, 5, 3, 1)
_WIDE = 1024  # channels of conv6 and conv7
# Each further stage: 1x1 channels, 3x3 channels, stride; without padding where the stride is 1
_STAGES = ((256, 512, 2), (128, 256, 2), (128, 256, 1), (128, 256, 1))


class L2Norm(nn.Module):
    """Each cell's features scaled to length ``weight`` (C,), which starts at 20 (ParseNet, arXiv:1506.04579)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return F.normalize(x) * self.weight.view(1, -1, 1, 1)


class SSDNet(nn.Module):
    """Backbone, further stages and predictors: images (B, 3, 300, 300) -> logits (B, A, K + 1), deltas (B, A, 4)."""

    def __init__(self, backbone: VGG16 | Backbone, shapes: list[int], columns: int, size: int) -> None:
        """``shapes``: anchors a cell of each map; ``columns`` of the logits; ``size`` of the deltas."""
        super().__init__()
        self.backbone = backbone
        fine, coarse = (m.channels for m in backbone.maps)
        self.norm = L2Norm(fine)
        self.wide = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(coarse, _WIDE, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(_WIDE, _WIDE, 1),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList()
        channels = [fine, _WIDE]
        for narrow, width, stride in _STAGES:
            self.stages.append(
                nn.Sequential(
                    nn.Conv2d(channels[-1], narrow, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(narrow, width, 3, stride=stride, padding=stride - 1),
                    nn.ReLU(inplace=True),
                )
            )
            channels.append(width)
        self.predictors = Predictors(channels, shapes, columns, size)
        for module in (*self.wide, *self.stages.modules()):
            _initialize(module)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fine, coarse = self.backbone(images)
        maps = [self.norm(fine), self.wide(coarse)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        logits, deltas = self.predictors(maps)
        return logits, deltas


class Predictors(nn.Module):
    """A 3x3 convolution on each map for the logits and one for the deltas, cells in level-row-column-shape order."""

    def __init__(self, channels: list[int], shapes: list[int], columns: int, size: int) -> None:
        super().__init__()
        self.columns, self.size = columns, size
        pairs = list(zip(channels, shapes, strict=True))
        self.logits = nn.ModuleList(nn.Conv2d(c, n * columns, 3, padding=1) for c, n in pairs)
        self.deltas = nn.ModuleList(nn.Conv2d(c, n * size, 3, padding=1) for c, n in pairs)
        for module in self.modules():
            _initialize(module)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        logits = [_rows(conv(x), self.columns) for conv, x in zip(self.logits, maps, strict=True)]
        deltas = [_rows(conv(x), self.size) for conv, x in zip(self.deltas, maps, strict=True)]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


def build_ssd300(recipe: Recipe, columns: int, coder: BoxCoder, pretrained: bool) -> Network:
    """The network of a recipe. Raises RecipeError for another input size, anchors of other maps, and a backbone whose
    maps don't have 38 and 19 cells a side."""
    spec: AnchorSpec = resolve_choice("anchors", recipe.anchors)()  # type: ignore[misc]
    if recipe.image_size != _SIDE or [level.stride for level in spec.levels] != list(recipe.strides):
        raise RecipeError(
            f"ssd300 has image_size {_SIDE} and anchors on six maps: {recipe.image_size}, {recipe.anchors}"
        )
    backbone = make_backbone(recipe, (8, 16), pretrained)
    net = SSDNet(backbone, [len(level.shapes) for level in spec.levels], columns, coder.size)
    if isinstance(backbone, Backbone):
        _check_grids(backbone, recipe.backbone)
    return Network(net, spec, backbone.mean, backbone.std)


@torch.no_grad()
def _check_grids(backbone: Backbone, name: str) -> None:
    grids = tuple(x.shape[-1] for x in backbone.eval()(torch.zeros(1, 3, _SIDE, _SIDE)))
    backbone.train()
    if grids != _GRIDS[:2]:
        raise RecipeError(f"backbone {name!r} gives maps of {list(grids)} cells at {_SIDE} px, ssd300 needs 38 and 19")


def _initialize(module: nn.Module) -> None:
    """As the authors do: Xavier weights, no bias."""
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _rows(cells: Tensor, columns: int) -> Tensor:
    """(B, S x columns, H, W) -> (B, H x W x S, columns)."""
    return cells.permute(0, 2, 3, 1).reshape(len(cells), -1, columns)
