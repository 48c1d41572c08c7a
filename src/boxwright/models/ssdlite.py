"""SSDLite300 as in TensorFlow's detection models (MobileNetV2, arXiv:1801.04381, section 6.2).

SSD (arXiv:1512.02325) with depthwise separable predictors and extra stages, on two maps of a backbone, with 19, 10, 5,
3, 2 and 1 cells per side at 300 px. With MobileNetV2 these are the wide map inside the block that reduces to stride 32,
and its last map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import chosen_anchors
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.detector import Network
from boxwright.models.efficientnet_lite import NormAct, conv, start
from boxwright.models.heads import flatten_head, init_deltas, output_layer
from boxwright.models.ssd import init_class_bias
from boxwright.recipes import Recipe

_SIDE = 300
_STAGES = ((256, 512), (128, 256), (128, 256), (64, 128))
"""For each extra stage: channels inside and after it."""


class SSDLite(nn.Module):
    """Backbone, extra stages and predictors: images (B, 3, S, S) -> logits (B, A, K'), deltas (B, A, D).

    ``shapes``: anchors per cell of each map; ``logits`` (K',) and ``deltas`` (D,): initial outputs.
    """

    def __init__(self, backbone: Backbone, shapes: list[int], logits: Tensor, deltas: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        channels = [m.channels for m in backbone.maps]
        stages = []
        for inside, width in _STAGES:
            stages.append(nn.Sequential(*_block(channels[-1], inside), *_separable(inside, width, stride=2)))
            channels.append(width)
        self.stages = nn.ModuleList(stages)
        start(self.stages)
        self.num_outputs, self.dim = len(logits), len(deltas)
        pairs = list(zip(channels, shapes, strict=True))
        self.logits = nn.ModuleList(_predictor(c, logits.repeat(n)) for c, n in pairs)
        self.deltas = nn.ModuleList(_predictor(c, deltas.repeat(n)) for c, n in pairs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, S, S) to logits (B, A, K') and deltas (B, A, D)."""
        maps = list(self.backbone(images))
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        logits = [flatten_head(layer(x), self.num_outputs) for layer, x in zip(self.logits, maps, strict=True)]
        deltas = [flatten_head(layer(x), self.dim) for layer, x in zip(self.deltas, maps, strict=True)]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


def build_ssdlite(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network of a recipe.

    Raises:
        RecipeError: For another input size than the detector's, anchors of other maps, and a backbone without maps of
            strides 16 and 32.
    """
    spec = chosen_anchors(recipe)
    own = chosen_anchors(recipe.replace(anchors="ssdlite300"))
    if recipe.image_size != _SIDE or [each.stride for each in spec.levels] != [each.stride for each in own.levels]:
        raise RecipeError(
            f"{recipe.detector} has image_size {_SIDE} and anchors on maps of 19, 10, 5, 3, 2 and 1 cells a side: "
            f"{recipe.image_size}, {recipe.anchors}"
        )
    if recipe.resize == "shortest":
        raise RecipeError(f"{recipe.detector} has square input: resize can be squash or pad but not shortest")
    backbone = make_backbone(recipe, (16, 32), pretrained)
    logits = init_class_bias(num_outputs, len(recipe.classes))
    net = SSDLite(backbone, [len(level.shapes) for level in spec.levels], logits, init_deltas(coder))
    return Network(net, spec, backbone.mean, backbone.std)


def _block(channels: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [conv(channels, width, kernel, stride, groups), NormAct(width, nn.ReLU6(inplace=True))]


def _separable(channels: int, width: int, stride: int) -> list[nn.Module]:
    return [*_block(channels, channels, 3, stride, channels), *_block(channels, width)]


def _predictor(channels: int, bias: Tensor) -> nn.Sequential:
    """Make a depthwise block and the output layer, which starts near ``bias``."""
    layers = _block(channels, channels, 3, groups=channels)
    start(layers[0])
    return nn.Sequential(*layers, output_layer(channels, bias, side=1))
