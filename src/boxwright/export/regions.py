"""A detector of two stages as a module that torch.export takes: as many regions of every picture, padded.

Shape shorthand: B images, A anchors, n candidates, P regions, K classes, L maps of the first stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from boxwright.export.graph import anchors_in_graph, clip, rows_of
from boxwright.export.suppression import Suppress
from boxwright.models.faster_rcnn import POOLED, SAMPLES, SHORTEST_PROPOSAL, TwoStageDetector, at_least, map_of
from boxwright.models.fpn import TWO_STAGE_STRIDES
from boxwright.models.selection import best_of_maps, class_scores


class RegionRaw(NamedTuple):
    """Raw outputs of a network of two stages."""

    scores: Tensor
    """(B, P, K) in 0..1 of each region; 0 of one that only fills up."""
    boxes: Tensor
    """(B, P, K, 4) xyxy in pixels of the input, or (B, P, 4) where all classes share a box."""
    regions: Tensor
    """(B, P, 4) by falling objectness, within what is shown; 0 of one that only fills up."""
    anchors: Tensor
    """(B, P) which of the anchors each comes from, -1 of one that only fills up."""
    objectness: Tensor
    """(B, A, 1) logits of the first stage."""
    first: Tensor
    """(B, A, 4) the first stage's boxes."""


class RegionGraph(nn.Module):
    """Compute ``RegionRaw`` from pixels (B, H, W, 3) and their ``valid_size``, as ``DenseGraph`` takes them."""

    def __init__(self, detector: TwoStageDetector, suppress: Suppress) -> None:
        super().__init__()
        self.detector, self.suppress = detector, suppress

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> RegionRaw:
        """Compute ``RegionRaw`` in the order of its fields."""
        detector = self.detector
        x = detector.normalize(images.permute(0, 3, 1, 2), valid_size)
        logits, deltas, features = detector.net(x.to(next(detector.net.parameters()).dtype))
        anchors = anchors_in_graph(detector, images, valid_size)
        first = detector.rpn_coder.decode(anchors.boxes, deltas.float())
        cut = clip(first, detector.recipe.image_size, valid_size)
        regions, chosen = self._propose(logits.float(), cut, [level.count for level in anchors.levels])
        scores, refined = self._refine(features, regions)
        there = (chosen >= 0).unsqueeze(-1)
        refined = torch.where(there.unsqueeze(-1), refined, 0)
        if not detector.recipe.box_per_class:
            refined = refined.squeeze(2)
        return RegionRaw(torch.where(there, scores, 0), refined, regions, chosen, logits.float(), first)

    def maps(self, images: Tensor, valid_size: Tensor | None, scores: Tensor) -> list[int]:
        """Return the number of all regions: they count as one map."""
        return [scores.shape[1]]

    def _propose(self, logits: Tensor, boxes: Tensor, maps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Regions (B, P, 4) and their anchors (B, P), of logits (B, A, 1) and boxes (B, A, 4)."""
        recipe = self.detector.recipe
        scores, anchor = best_of_maps(logits, recipe.proposals, maps)  # (B, n)
        counts = [torch.sym_min(recipe.proposals, cells) for cells in maps]
        level = torch.cat([anchor.new_full((count,), number) for number, count in enumerate(counts)])
        boxes = rows_of(boxes, anchor)
        order = torch.arange(level.shape[0], 0, -1, device=boxes.device)  # each map's best come first
        there = at_least(boxes, SHORTEST_PROPOSAL).unsqueeze(1) & (
            level == torch.arange(len(maps), device=level.device).unsqueeze(-1)
        )
        kept = self.suppress(boxes, torch.where(there, order.float(), -1), recipe.proposal_nms)
        best, place = torch.where(kept, scores, -torch.inf).topk(torch.sym_min(recipe.proposals, scores.shape[1]))
        there = best > -torch.inf
        regions = torch.where(there.unsqueeze(-1), rows_of(boxes, place), 0)
        return regions, torch.where(there, anchor.gather(1, place), -1)

    def _refine(self, features: list[Tensor], regions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, P, K) and boxes (B, P, K, 4), or (B, P, 1, 4), of regions (B, P, 4)."""
        detector = self.detector
        head, (images, count) = detector.net.roi, regions.shape[:2]
        logits, deltas = head(_pool(features, regions).to(head.logits.weight.dtype))
        scores = class_scores(logits, detector.softmax).view(images, count, -1)
        deltas = deltas.float().view(images, count, -1, detector.coder.dim)
        return scores, detector.coder.decode(regions.unsqueeze(2), deltas)


def _pool(features: list[Tensor], regions: Tensor) -> Tensor:
    """Pool features (B x P, C, 7, 7) from regions (B, P, 4), as ``faster_rcnn.pool`` does."""
    from torchvision.ops import roi_align

    image = torch.arange(regions.shape[0], device=regions.device).view(-1, 1, 1).expand(-1, regions.shape[1], 1)
    rois = torch.cat([image.to(regions), regions], -1).flatten(0, 1)
    level = map_of(rois[:, 1:], len(features))
    pooled = regions.new_zeros(rois.shape[0], features[0].shape[1], POOLED, POOLED)
    for number, (map_, stride) in enumerate(zip(features, TWO_STAGE_STRIDES, strict=False)):
        own = (level == number).nonzero().squeeze(1)
        aligned = roi_align(map_.float(), rois.index_select(0, own), POOLED, 1 / stride, SAMPLES)
        pooled = pooled.index_copy(0, own, aligned)
    return pooled
