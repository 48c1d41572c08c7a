"""Faster R-CNN (Ren et al. 2015, arXiv:1506.01497) on a feature pyramid (Lin et al. 2017, arXiv:1612.03144, section 4).

The first stage, the region proposal network, predicts at three anchors per cell of five maps whether there is an object
and where. The second pools 7x7 features for each remaining region, from the map that fits its size, and predicts the
class and a better box. Any backbone with maps of strides 4, 8, 16 and 32 works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from boxwright.anchors import Anchors
from boxwright.boxes import box_area, box_sides, clip_boxes, clip_boxes_of_images
from boxwright.choices import parse_choice, resolve_choice
from boxwright.coding import BoxCoder
from boxwright.errors import RecipeError
from boxwright.models.anchoring import chosen_anchors
from boxwright.models.backbones import Backbone, make_backbone
from boxwright.models.detector import Detector, Network
from boxwright.models.fpn import FPN, TWO_STAGE_STRIDES
from boxwright.models.heads import flatten_head, init_bias, init_deltas, output_layer
from boxwright.models.selection import best_of_maps, best_pairs, class_scores, limits, nms_and_topk
from boxwright.nms import NmsKind, batched_nms
from boxwright.recipes import Recipe
from boxwright.types import DenseOutputs, Detections, RoIOutputs, TwoStageOutputs

POOLED = 7  # cells a side of a region's features
SAMPLES = 2  # points a side that each of them averages
_CANONICAL_SIDE, _CANONICAL_LEVEL, _FIRST_LEVEL = 224, 4, 2  # FPN, eq. 1: regions of this side come from P4 of P2 to P5
SHORTEST_PROPOSAL = 1e-3  # pixels a side, as in torchvision
SHORTEST_DETECTION = 1e-2


class RPNHead(nn.Module):
    """Head from maps (B, width, H, W) to logits (B, A, 1) and deltas (B, A, D), in level-row-column-shape order."""

    def __init__(self, width: int, shapes: int, logits: Tensor, deltas: Tensor) -> None:
        """Set the initial outputs, ``logits`` (1,) and ``deltas`` (D,), of each of the ``shapes`` anchors of a cell."""
        super().__init__()
        self.dim = len(deltas)
        self.shared = nn.Sequential(output_layer(width, torch.zeros(width), side=3), nn.ReLU(inplace=True))
        self.logits = output_layer(width, logits.repeat(shapes), side=1)
        self.deltas = output_layer(width, deltas.repeat(shapes), side=1)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map one (B, width, H, W) per level to logits (B, A, 1) and deltas (B, A, D)."""
        shared = [self.shared(x) for x in maps]
        logits = [flatten_head(self.logits(x), 1) for x in shared]
        deltas = [flatten_head(self.deltas(x), self.dim) for x in shared]
        return torch.cat(logits, 1), torch.cat(deltas, 1)


class RoIHead(nn.Module):
    """Head from region features (R, width, 7, 7) to logits (R, K') and deltas (R, D), with two layers of 1024."""

    def __init__(self, width: int, hidden: int, logits: Tensor, deltas: Tensor) -> None:
        """Set the initial outputs, ``logits`` (K',) and ``deltas``."""
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(width * POOLED**2, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
        )
        self.logits = _output(hidden, logits, std=0.01)
        self.deltas = _output(hidden, deltas, std=0.001)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, width, 7, 7) to logits (R, K') and deltas (R, D)."""
        hidden = self.hidden(features.flatten(1))
        return self.logits(hidden), self.deltas(hidden)


class FasterRCNN(nn.Module):
    """Backbone, pyramid and both heads; ``forward`` is the first stage, ``refine`` the second."""

    def __init__(self, backbone: Backbone, fpn: FPN, rpn: RPNHead, roi: RoIHead) -> None:
        super().__init__()
        self.backbone, self.fpn, self.rpn, self.roi = backbone, fpn, rpn, roi

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Map (B, 3, H, W) to logits (B, A, 1), deltas (B, A, D), and the maps of strides 4 to 32."""
        maps = self.fpn(self.backbone(images))
        logits, deltas = self.rpn(maps)
        return logits, deltas, maps[:-1]

    def refine(self, features: list[Tensor], rois: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Compute logits (R, K') and deltas (R, D) of all regions from the maps and each image's regions (r, 4)."""
        pooled = pool(features, rois)  # float32, whatever the type of the maps
        logits, deltas = self.roi(pooled.to(self.roi.logits.weight.dtype))
        return logits, deltas


def pool(features: list[Tensor], rois: Sequence[Tensor]) -> Tensor:
    """Pool aligned float32 features (R, C, 7, 7) of each image's regions (r, 4).

    Source: RoIAlign of Mask R-CNN, arXiv:1703.06870, section 3. ``features`` are maps of strides 4, 8, ...; a region
    uses the one that fits its area (FPN, eq. 1).
    """
    from torchvision.ops import roi_align

    boxes = torch.cat(list(rois))
    image = torch.cat([torch.full_like(boxes[:, :1], row) for row, boxes in enumerate(rois)])
    level = map_of(boxes, len(features))
    order = level.argsort(stable=True)
    counts = (level.unsqueeze(1) == torch.arange(len(features), device=level.device)).sum(0).tolist()
    regions = torch.split(torch.cat([image, boxes], 1)[order], counts)
    pooled = [
        roi_align(each.float(), own, POOLED, 1 / stride, SAMPLES)
        for each, own, stride in zip(features, regions, TWO_STAGE_STRIDES, strict=False)
    ]
    return torch.cat(pooled).index_select(0, order.argsort())


def map_of(boxes: Tensor, maps: int) -> Tensor:
    """Choose (n,) maps of strides 4, 8, ... to pool boxes (n, 4) from, by their area (FPN, eq. 1)."""
    wanted = (_CANONICAL_LEVEL + torch.log2(box_area(boxes).sqrt() / _CANONICAL_SIDE) + 1e-6).floor()
    return (wanted - _FIRST_LEVEL).clamp(0, maps - 1)


class Proposals(NamedTuple):
    """The regions that the first stage proposes in an image, by falling objectness."""

    boxes: Tensor
    """(n, 4) in pixels of the input."""
    anchors: Tensor
    """(n,) which of the anchors each comes from."""


class TwoStageDetector(Detector):
    """Detector whose second stage refines the regions that the first proposes.

    ``coder`` is the second stage's; the first has its own.
    """

    net: FasterRCNN

    def __init__(self, network: Network, coder: BoxCoder, recipe: Recipe, *, softmax: bool = False) -> None:
        super().__init__(network, coder, recipe, softmax=softmax)
        self.rpn_coder: BoxCoder = resolve_choice("coder", recipe.rpn_coder)()  # type: ignore[misc]

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> TwoStageOutputs:
        """Compute the first stage's outputs, the features, and each image's proposals from input (B, 3, H, W).

        Proposals are clipped to what is ``valid_size``.
        """
        logits, deltas, features = self.net(images)
        outputs = DenseOutputs(logits, deltas)
        size = (images.shape[2], images.shape[3])
        if valid_size is None:
            valid_size = torch.stack([torch.full((len(images),), side, device=images.device) for side in size], 1)
        proposals = self.propose(outputs, self.anchors_of(size), valid_size)
        return TwoStageOutputs(outputs, features, [each.boxes for each in proposals])

    def refine(self, features: list[Tensor], rois: Sequence[Tensor]) -> RoIOutputs:
        """Run the second stage on regions (r, 4) of each image, in pixels of the input."""
        return RoIOutputs(*self.net.refine(features, rois))

    @torch.no_grad()
    def propose(self, outputs: DenseOutputs, anchors: Anchors, valid_size: Tensor) -> list[Proposals]:
        """Choose each image's proposals from the first stage's outputs.

        The best anchors of each map are decoded, clipped to the image's ``valid_size`` (B, 2), and thinned out by
        NMS on each map alone.
        """
        images, dim = len(valid_size), self.rpn_coder.dim
        count = self.recipe.training_proposals if self.training else self.recipe.proposals
        maps = [level.count for level in anchors.levels]
        scores, place = best_of_maps(outputs.logits.float(), count, maps)  # (B, n)
        deltas = outputs.deltas.gather(1, place.unsqueeze(-1).expand(-1, -1, dim))  # (B, n, D)
        boxes = clip_boxes_of_images(self.rpn_coder.decode(anchors.boxes[place], deltas), valid_size)
        image, row = at_least(boxes, SHORTEST_PROPOSAL).nonzero(as_tuple=True)
        boxes, scores, place = boxes[image, row], scores[image, row], place[image, row]
        levels = torch.cat([row.new_full((min(count, cells),), level) for level, cells in enumerate(maps)])  # (n,)
        left = batched_nms(boxes, scores, image * len(maps) + levels[row], self.recipe.proposal_nms)
        left = left[image[left].argsort(stable=True)]  # image by image, each by falling score
        counts = torch.bincount(image[left], minlength=images).tolist()
        best = [own[:count] for own in torch.split(left, counts)]
        return [Proposals(boxes[own], place[own]) for own in best]

    def _detect(
        self,
        outputs: TwoStageOutputs,
        size: tuple[int, int],
        valid_size: Tensor | None,
        score: float,
        nms: NmsKind | None,
    ) -> list[Detections]:
        counts = [len(boxes) for boxes in outputs.proposals]
        refined = self.refine(outputs.features, outputs.proposals).by_image(counts)
        images = zip(outputs.proposals, refined, limits(valid_size, size, len(counts)), strict=True)
        return [self._detect_one(*image, score, nms) for image in images]

    def _detect_one(
        self, rois: Tensor, refined: DenseOutputs, size: tuple[int, int], score: float, nms: NmsKind | None
    ) -> Detections:
        scores = class_scores(refined.logits[0], self.softmax)
        best, roi, labels = best_pairs(scores, score, self.recipe, [len(rois)])
        boxes_of_each = len(self.classes) if self.recipe.box_per_class else 1
        deltas = refined.deltas[0].float().view(len(rois), boxes_of_each, self.coder.dim)
        boxes = self.coder.decode(rois[roi], deltas[roi, labels if self.recipe.box_per_class else 0])
        kept = at_least(clip_boxes(boxes, size), SHORTEST_DETECTION)
        return nms_and_topk(boxes[kept], best[kept], labels[kept], size, score, self.recipe, nms)


def at_least(boxes: Tensor, side: float) -> Tensor:
    """Tell (n,) which boxes (n, 4) have two sides of at least this length."""
    width, height = box_sides(boxes)
    return (width >= side) & (height >= side)


def _output(width: int, bias: Tensor, std: float) -> nn.Linear:
    layer = nn.Linear(width, len(bias))
    nn.init.normal_(layer.weight, std=std)
    layer.bias = nn.Parameter(bias.clone())
    return layer


def _init_class_bias(num_outputs: int, classes: int, miner: str) -> Tensor:
    """Compute the initial logits (num_outputs,) of an untrained stage.

    They are 0 as published, since few regions are chosen to learn from; without a miner, where all count, they mean
    "nothing here".
    """
    return init_bias(num_outputs, classes) if parse_choice("miner", miner)[0] == "none" else torch.zeros(num_outputs)


def build_faster_rcnn(recipe: Recipe, num_outputs: int, coder: BoxCoder, pretrained: bool | str) -> Network:
    """Build the network of a recipe.

    Raises:
        RecipeError: For anchors of other maps, and a backbone without maps of strides 4, 8, 16 and 32.
    """
    spec = chosen_anchors(recipe)
    if [level.stride for level in spec.levels] != list(recipe.strides):
        raise RecipeError(
            f"faster-rcnn has maps of strides {list(recipe.strides)}: its anchors can't be {recipe.anchors}"
        )
    backbone = make_backbone(recipe, TWO_STAGE_STRIDES, pretrained)
    fpn = FPN([m.channels for m in backbone.maps], recipe.width, coarser="pooled")
    rpn_coder: BoxCoder = resolve_choice("coder", recipe.rpn_coder)()  # type: ignore[misc]
    rpn = RPNHead(
        recipe.width,
        len(spec.levels[0].shapes),
        _init_class_bias(1, 1, recipe.rpn_miner),
        init_deltas(rpn_coder),
    )
    classes = len(recipe.classes)
    deltas = init_deltas(coder).repeat(classes if recipe.box_per_class else 1)
    roi = RoIHead(recipe.width, recipe.hidden, _init_class_bias(num_outputs, classes, recipe.miner), deltas)
    return Network(FasterRCNN(backbone, fpn, rpn, roi), spec, backbone.mean, backbone.std)
