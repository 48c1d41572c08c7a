"""Tiny-Detector: the smallest detector that shows every part of SSD's supervision.

VGG16 to a map of 7 x 7 cells at 224 px with nine anchors each (441: scales .2 .4 .6, ratios 1 2 .5), and one 3x3
convolution for the classes and one for the boxes. The tutorial that it comes from names smooth L1 but uses L1, averaged
over the four coordinates of the positives: ``box_loss=l1 box_weight=0.25``.
"""

from __future__ import annotations

from torch import Tensor, nn

from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import chosen_anchors
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.detector import Network
from boxwright.models.ssd import Predictors, init_class_bias
from boxwright.recipes import Recipe


class TinyNet(nn.Module):
    """Backbone and predictors: images (B, 3, H, W) -> logits (B, A, K + 1), deltas (B, A, 4)."""

    def __init__(self, backbone: Backbone, shapes: int, logits: Tensor, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.predictors = Predictors([backbone.maps[0].channels], [shapes], logits, dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) to logits (B, A, K') and deltas (B, A, 4)."""
        logits, deltas = self.predictors(self.backbone(images))
        return logits, deltas


def build_tiny(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network of a recipe; raises RecipeError for anchors of other maps."""
    spec = chosen_anchors(recipe)
    if [level.stride for level in spec.levels] != list(recipe.strides):
        raise RecipeError(f"tiny-detector has one map, of stride 32: its anchors can't be {recipe.anchors}")
    backbone = make_backbone(recipe, (32,), pretrained)
    logits = init_class_bias(num_outputs, len(recipe.classes))
    net = TinyNet(backbone, len(spec.levels[0].shapes), logits, coder.dim)
    return Network(net, spec, backbone.mean, backbone.std)
