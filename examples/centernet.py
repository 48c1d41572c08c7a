"""A detector of one's own in one file, after CenterNet (Objects as Points, arXiv:1904.07850): one map, one box a cell.

    boxwright train DATA --recipe centernet:CENTERNET
    boxwright predict RUN photos --allow-code centernet

Each object is learnt by the one cell that its center lies in. The paper's cells around it, whose penalty falls with a
Gaussian, are left out of the classification here; all else is background.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import boxwright as bw
from boxwright.anchors import Anchors, AnchorSpec
from boxwright.coding import BoxCoder
from boxwright.models import Backbone, Network, make_backbone
from boxwright.types import Matches

STRIDE = 8
REFERENCE = 4.0  # strides: the side that boxes are encoded against


@bw.matcher(needs=("grid",))
def match_centers(anchors: Anchors, boxes: Tensor, labels: Tensor, *, ignore: Tensor, radius: float = 0.2) -> Matches:
    """Match each target with the cell nearest to its center, and ignore those within ``radius`` of its sides.

    boxes (B, G, 4), labels (B, G) with -1 for padding, ignore (B, G). A cell of several targets takes the smallest.
    """
    cells = bw.boxes.convert_boxes(anchors.boxes, "xyxy", "cxcywh")[:, :2]  # (A, 2)
    target = bw.boxes.convert_boxes(boxes, "xyxy", "cxcywh").unsqueeze(2)  # (B, G, 1, 4)
    real = ((labels >= 0) & ~ignore).unsqueeze(-1)  # (B, G, 1)
    away = cells - target[..., :2]  # (B, G, A, 2)
    near = (away.abs() <= radius * target[..., 2:]).all(-1) & (labels >= 0).unsqueeze(-1)  # crowds too
    if not boxes.shape[1]:
        nothing = boxes.new_zeros(len(boxes), len(cells))
        return Matches(nothing.long(), nothing.to(torch.int8), nothing)
    distance = away.square().sum(-1)  # (B, G, A)
    center = torch.zeros_like(near).scatter(-1, distance.argmin(-1, keepdim=True), True) & real
    size = torch.where(center, target[..., 2:].prod(-1), torch.inf)
    smallest, gt_index = size.min(1)  # (B, A)
    positive = smallest.isfinite()
    state = torch.where(positive, 1, torch.where(near.any(1), -1, 0)).to(torch.int8)
    iou = torch.stack([bw.boxes.box_iou(each, anchors.boxes) for each in boxes])  # (B, G, A)
    iou = iou.gather(1, gt_index.unsqueeze(1)).squeeze(1)
    return Matches(gt_index * positive, state, iou * positive)


class CenterNet(nn.Module):
    """Maps of strides 8, 16 and 32 summed up at stride 8, then one branch for classes and one for boxes."""

    def __init__(self, backbone: Backbone, width: int, num_outputs: int, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.laterals = nn.ModuleList(nn.Conv2d(m.channels, width, 1) for m in backbone.maps)
        self.classes, self.boxes = self._branch(width, num_outputs), self._branch(width, size)
        nn.init.constant_(self.classes[-1].bias, -4.6)  # an object with probability .01

    @staticmethod
    def _branch(width: int, outputs: int) -> nn.Sequential:
        norm = nn.BatchNorm2d(width)
        return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(width, outputs, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> logits (B, A, K), deltas (B, A, D) of A = H / 8 x W / 8 cells, row by row."""
        maps = [lateral(x) for lateral, x in zip(self.laterals, self.backbone(images), strict=True)]
        x = maps[0]
        for coarse in maps[1:]:
            x = x + F.interpolate(coarse, size=x.shape[-2:], mode="bilinear")
        logits, deltas = (branch(x).flatten(2).transpose(1, 2) for branch in (self.classes, self.boxes))
        return logits, deltas


def build(recipe: bw.Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network, and say where its cells are."""
    backbone = make_backbone(recipe, (8, 16, 32), pretrained)
    net = CenterNet(backbone, recipe.width, num_outputs, coder.dim)
    return Network(net, AnchorSpec.squares((STRIDE,), REFERENCE), backbone.mean, backbone.std)


CENTERNET = bw.DetectorSpec(
    "centernet",
    build=build,
    recipe={
        "backbone": "tf_efficientnet_lite0",
        "image_size": 320,
        "strides": (8, 16, 32),
        "width": 96,
        "anchors": "squares:scale=4",
        "matcher": match_centers,
        "coder": "delta:weights=[1,1,1,1]",
        "class_loss": "sigmoid_focal:alpha=null,gamma=2",
        "box_loss": "l1",
        "box_weight": 1.0,
        "normalizer": "positives",
        "epochs": 60,
        "batch_size": 8,
        "optimizer": "adamw",
        "lr": 2e-3,
        "weight_decay": 0.02,
        "freeze": 2,
        "freeze_depthwise": 5,
        "augment": "light",
        "nms_threshold": 0.5,
    },
    without=("strides", "distribution_weight", "centerness", "centerness_weights", "distances"),
)
