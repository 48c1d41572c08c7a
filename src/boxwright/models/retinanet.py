"""RetinaNet: focal loss for dense object detection (Lin et al. 2017, arXiv:1708.02002, section 4 and figure 3).

A feature pyramid of five maps and two heads of four 3x3 convolutions, with the same weights on every map; nine anchors
per cell. Any backbone with maps of strides 8, 16 and 32 works.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import chosen_anchors
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.detector import Network
from boxwright.models.fpn import BACKBONE_STRIDES, FPN, PYRAMID_STRIDES
from boxwright.models.heads import flatten_head, init_bias, init_deltas, output_layer, tower
from boxwright.recipes import Recipe


class RetinaHead(nn.Module):
    """Head from maps (B, width, H, W) to logits (B, A, K') and deltas (B, A, D), in level-row-column-shape order.

    ``logits`` (K',) and ``deltas`` (D,): initial outputs of each of the ``shapes`` anchors of a cell.
    """

    def __init__(self, width: int, shapes: int, logits: Tensor, deltas: Tensor) -> None:
        super().__init__()
        self.num_outputs, self.size = len(logits), len(deltas)
        self.logits = nn.Sequential(*tower(width), output_layer(width, logits.repeat(shapes), side=3))
        self.deltas = nn.Sequential(*tower(width), output_layer(width, deltas.repeat(shapes), side=3))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map one (B, width, H, W) per level to logits (B, A, K') and deltas (B, A, D)."""
        logits = [flatten_head(self.logits(x), self.num_outputs) for x in maps]
        deltas = [flatten_head(self.deltas(x), self.size) for x in maps]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


class RetinaNet(nn.Module):
    """Backbone, pyramid and head: normalized images (B, 3, H, W) -> logits (B, A, K'), deltas (B, A, D)."""

    def __init__(self, backbone: Backbone, fpn: FPN, head: RetinaHead) -> None:
        super().__init__()
        self.backbone, self.fpn, self.head = backbone, fpn, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) to logits (B, A, K') and deltas (B, A, D)."""
        logits, deltas = self.head(self.fpn(self.backbone(images)))
        return logits, deltas


def build_retinanet(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network of a recipe.

    Raises:
        RecipeError: For anchors of other maps or with different numbers on them, and a backbone without maps of strides
            8, 16 and 32.
    """
    spec = chosen_anchors(recipe)
    shapes = {len(level.shapes) for level in spec.levels}
    if tuple(level.stride for level in spec.levels) != PYRAMID_STRIDES or len(shapes) > 1:
        raise RecipeError(
            f"retinanet has maps of strides {list(PYRAMID_STRIDES)} and as many anchors on each: its anchors can't be "
            f"{recipe.anchors}"
        )
    backbone = make_backbone(recipe, BACKBONE_STRIDES, pretrained)
    fpn = FPN([m.channels for m in backbone.maps], recipe.width)
    logits = init_bias(num_outputs, len(recipe.classes))
    head = RetinaHead(recipe.width, shapes.pop(), logits, init_deltas(coder))
    return Network(RetinaNet(backbone, fpn, head), spec, backbone.mean, backbone.std)
