"""UnitBox: every cell inside an object predicts the distances to its four sides (Yu et al. 2016, arXiv:1608.01471).

The four distances share one loss, -ln IoU. The network is that of FCOS (Tian et al. 2019, arXiv:1904.01355, section 3
and figure 2), which does the same on a feature pyramid: two towers with the same weights on every map, and centerness
next to the distances if the recipe asks for it. UnitBox itself has one map, of VGG16. The distances are exponentials,
as in the FCOS paper but without a factor per map, which is in the coder's unit: the IoU is then never 0 where it should
be learned. With a ReLU, as in UnitBox and torchvision (an option here), a box may have a side of length 0.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, cast

import torch
from torch import Tensor, nn

from boxwright.anchors import AnchorSpec
from boxwright.coding import MAX_LOG_SCALE, BoxCoder, DistanceCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import chosen_anchors
from boxwright.models.backbones import make_backbone
from boxwright.models.detector import Network
from boxwright.models.fpn import BACKBONE_STRIDES, FPN
from boxwright.models.heads import flatten_head, init_bias, output_layer, tower
from boxwright.recipes import Recipe

_GROUP = 8  # channels of each GroupNorm group (arXiv:1803.08494): 32 groups at FCOS's width of 256


class UnitBoxHead(nn.Module):
    """Head from maps (B, width, H, W) to logits (B, A, K'), distances (B, A, 4) and optionally centerness (B, A).

    Cells are in level-row-column order. ``logits`` (K',) and ``distances`` (4,): initial outputs. A distance is an
    exponential of at most 1000 / 16, without gradient beyond, or the output of a ReLU.
    """

    def __init__(
        self, width: int, logits: Tensor, distances: Tensor, *, centerness: bool, kind: Literal["exp", "relu"] = "exp"
    ) -> None:
        super().__init__()
        self.num_outputs = len(logits)
        self.kind = kind
        self.classes, self.sides = normed_tower(width), normed_tower(width)
        self.logits = output_layer(width, logits, side=3)
        self.distances = output_layer(width, distances.log() if kind == "exp" else distances, side=3)
        self.centerness = output_layer(width, torch.zeros(1), side=3) if centerness else None

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Map one (B, width, H, W) per level to logits, distances and centerness."""
        sides = [self.sides(x) for x in maps]
        logits = torch.cat([flatten_head(self.logits(self.classes(x)), self.num_outputs) for x in maps], 1)
        distances = torch.cat([flatten_head(self.distances(x), 4) for x in sides], 1)
        outputs = logits, distances.clamp(max=MAX_LOG_SCALE).exp() if self.kind == "exp" else distances.relu()
        if self.centerness is None:
            return outputs
        return *outputs, torch.cat([self.centerness(x).flatten(1) for x in sides], 1)


def normed_tower(width: int) -> nn.Sequential:
    """Make RetinaNet's tower with a GroupNorm after each convolution: (B, width, H, W) -> the same.

    The groups' size is fixed, not their number: a single channel of a one-cell map would always be 0.
    """
    layers: list[nn.Module] = []
    for layer in tower(width):
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.GroupNorm(width // _GROUP, width))
    return nn.Sequential(*layers)


def build_unitbox(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network of a recipe.

    Raises:
        RecipeError: For anchors of several shapes per cell, a coder other than distances in units of the anchors, a
            width that is not a multiple of 8, and a backbone without maps of strides 8, 16 and 32.
    """
    spec = _one_square_a_cell(recipe)
    if not isinstance(coder, DistanceCoder) or coder.unit is None:
        raise RecipeError(f"unitbox predicts distances in units of its anchors: its coder can't be {recipe.coder}")
    if recipe.width % _GROUP:
        raise RecipeError(f"Expected width to be a multiple of {_GROUP} for unitbox but got {recipe.width}")
    backbone = make_backbone(recipe, BACKBONE_STRIDES, pretrained)
    like_anchor = torch.full((4,), 0.5 / coder.unit)
    head = UnitBoxHead(
        recipe.width,
        init_bias(num_outputs, len(recipe.classes)),
        like_anchor,
        centerness=recipe.centerness,
        kind=recipe.distances,
    )
    fpn = FPN([m.channels for m in backbone.maps], recipe.width)
    net = nn.Sequential(OrderedDict(backbone=cast(nn.Module, backbone), fpn=fpn, head=head))
    return Network(net, spec, backbone.mean, backbone.std)


def _one_square_a_cell(recipe: Recipe) -> AnchorSpec:
    strides = {"strides": recipe.strides} if recipe.anchors.startswith("squares") else {}
    spec = chosen_anchors(recipe, **strides)
    shapes = [level.shapes for level in spec.levels]
    if [level.stride for level in spec.levels] != list(recipe.strides) or any(
        len(of_cell) != 1 or of_cell[0][0] != of_cell[0][1] for of_cell in shapes
    ):
        raise RecipeError(f"unitbox has one anchor a cell, squares: its anchors can't be {recipe.anchors}")
    return spec
