"""Overlaps between anchors and targets: from their boxes, block by block, or from a matrix that is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from boxwright.boxes import box_iou, paired_iou

# Elements of the matrix that are held at a time: 1 MB of float32, which stays in a core's cache.
BLOCK_ELEMENTS = 1 << 18


class Best(NamedTuple):
    """The best partner of each of one side; ties go to the lower index."""

    iou: Tensor
    """Its IoU; 0 or less where there is none."""
    partner: Tensor
    """int64, which of the other side."""


def best_of(place: Tensor, iou: Tensor, index: Tensor, count: int) -> Best:
    """(count,) the best of the candidates (n,) for each place (n,): the highest IoU above 0, then the lowest index."""
    best = iou.new_zeros(count).scatter_reduce_(0, place, iou, "amax")
    leads = ((iou == best[place]) & (iou > 0)).nonzero().squeeze(1)
    lowest = index.new_zeros(count).scatter_reduce_(0, place[leads], index[leads], "amin", include_self=False)
    return Best(best, lowest)


class BoxOverlaps:
    """What overlaps of anchors (A, 4) with the real among the targets (B, G, 4) share, however they are found."""

    def __init__(self, anchors: Tensor, boxes: Tensor, real: Tensor, floor: float) -> None:
        self.anchors, self.boxes, self.real = anchors, boxes, real
        self.floor, self.count = floor, len(anchors)

    def between(self, image: Tensor, target: Tensor, anchor: Tensor) -> Tensor:
        """(n,) the overlap of each of these targets (n,) of these images (n,) with an anchor (n,)."""
        return paired_iou(self.boxes[image, target], self.anchors[anchor])

    def usable(self, anchor: Tensor | slice) -> Tensor:
        """(n,) bool: which of these anchors (n,) are finite, so that they can be matched at all."""
        return self.anchors[anchor].isfinite().all(-1)

    def distances(self, image: Tensor, target: Tensor) -> Tensor:
        """(n, A) squared distances from the centres of these targets (n,) to the anchors'; infinite if not finite."""
        centres = (self.anchors[:, :2].double() + self.anchors[:, 2:]) / 2  # float64 tells them apart from far
        box = self.boxes[image, target]
        distance = ((centres - (box[:, None, :2] + box[:, None, 2:]) / 2) ** 2).sum(-1)
        return distance.nan_to_num_(torch.inf)


class BlockOverlaps(BoxOverlaps):
    """Overlaps of any anchors (A, 4) with the real among the targets (B, G, 4), from ``floor`` on, by dense blocks.

    The whole (B, G, A) matrix is never held. Every element is computed by the same operations whatever the block, so
    results don't depend on the block size.
    """

    @property
    def of_anchors(self) -> Best:
        """(B, A) each anchor's best target where it reaches ``floor``, else 0 and 0."""
        best = self._best[0]
        known = (best.iou >= self.floor) & (best.iou >= 0)
        return Best(torch.where(known, best.iou, 0), torch.where(known, best.partner, 0))

    @property
    def of_targets(self) -> Best:
        """(B, G) each target's best anchor; IoU -1 for those that aren't real."""
        return self._best[1]

    @cached_property
    def _best(self) -> tuple[Best, Best]:
        anchor_iou, anchor_target = [], []
        target_iou = torch.full(self.real.shape, -1.0, dtype=self.boxes.dtype, device=self.boxes.device)
        target_anchor = torch.zeros(self.real.shape, dtype=torch.int64, device=self.boxes.device)
        for start, iou in self._blocks():
            best = iou.max(dim=1)
            anchor_iou.append(best.values)
            anchor_target.append(best.indices)
            value, index = iou.max(dim=2)
            better = value > target_iou  # strictly: an equal one further on has a higher index
            target_iou = torch.where(better, value, target_iou)
            target_anchor = torch.where(better, start + index, target_anchor)
        return Best(torch.cat(anchor_iou, 1), torch.cat(anchor_target, 1)), Best(target_iou, target_anchor)

    def reached(self) -> tuple[Tensor, Tensor]:
        """(n,) images and anchors: all that reach some target's best IoU, if that is above 0."""
        best = self.of_targets.iou
        reachable = torch.where(best > 0, best, torch.inf).unsqueeze(-1)
        reached = torch.cat([(iou == reachable).any(1) for _, iou in self._blocks()], dim=1)
        image, anchor = reached.nonzero(as_tuple=True)
        return image, anchor

    def targets_of(self, image: Tensor, anchor: Tensor) -> Tensor:
        """(n,) the best target of these anchors (n,) of these images (n,)."""
        return self._best[0].partner[image, anchor]

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """(n,) for each of these targets (n,) its best anchor that comes after ``before`` by falling IoU and index."""
        return next_in_rows(self.anchors, self.boxes[image, target], before)

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """IoU (B, G, S) of anchors from each start on; -1 for targets that are not real."""
        size = max(1, BLOCK_ELEMENTS // max(self.real.numel(), 1))
        for start in range(0, len(self.anchors), size):
            iou = box_iou(self.boxes, self.anchors[start : start + size])
            yield start, iou.masked_fill_(~self.real.unsqueeze(-1), -1.0)


class MatrixOverlaps:
    """Overlaps that are given as a matrix (B, G, A) of numbers of at least 0, from ``floor`` on.

    Nothing is known of places: all distances are infinite.
    """

    def __init__(self, matrix: Tensor, real: Tensor, floor: float) -> None:
        self.real, self.floor, self.count = real, floor, matrix.shape[2]
        self._matrix = matrix.masked_fill(~real.unsqueeze(-1), -1.0)

    @cached_property
    def _best(self) -> Best:
        return Best(*self._matrix.max(dim=1))

    @property
    def of_anchors(self) -> Best:
        """(B, A) each anchor's best target where it reaches ``floor``, else 0 and 0."""
        known = (self._best.iou >= self.floor) & (self._best.iou >= 0)
        return Best(torch.where(known, self._best.iou, 0), torch.where(known, self._best.partner, 0))

    @cached_property
    def of_targets(self) -> Best:
        """(B, G) each target's best anchor; -1 for those that aren't real."""
        return Best(*self._matrix.max(dim=2))

    def reached(self) -> tuple[Tensor, Tensor]:
        """(n,) images and anchors: all that reach some target's best overlap, if that is above 0."""
        best = self.of_targets.iou.unsqueeze(-1)
        image, anchor = ((self._matrix == best) & (best > 0)).any(1).nonzero(as_tuple=True)
        return image, anchor

    def targets_of(self, image: Tensor, anchor: Tensor) -> Tensor:
        """(n,) the best target of these anchors (n,) of these images (n,)."""
        return self._best.partner[image, anchor]

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """(n,) for each of these targets (n,) its best anchor that comes after ``before`` by overlap and index."""
        return _best_after(self._matrix[image, target], before)

    def between(self, image: Tensor, target: Tensor, anchor: Tensor) -> Tensor:
        """(n,) the overlap of each of these targets (n,) of these images (n,) with an anchor (n,)."""
        return self._matrix[image, target, anchor]

    def usable(self, anchor: Tensor | slice) -> Tensor:
        """(n,) bool: all of these anchors (n,)."""
        return torch.ones_like(self._matrix[0, 0, anchor], dtype=torch.bool)

    def distances(self, image: Tensor, target: Tensor) -> Tensor:
        """(n, A) infinite."""
        return torch.full_like(self._matrix[image, target], torch.inf)


def next_in_rows(anchors: Tensor, boxes: Tensor, before: Best) -> Best:
    """(n,) the best of the anchors (A, 4) for each box (n, 4) among those after ``before``; IoU -1 where none is."""
    iou, index = torch.full_like(before.iou, -1.0), torch.zeros_like(before.partner)
    size = max(1, BLOCK_ELEMENTS // len(anchors))
    for start in range(0, len(boxes), size):
        rows = slice(start, start + size)
        found = box_iou(boxes[rows], anchors)
        iou[rows], index[rows] = _best_after(found, Best(before.iou[rows], before.partner[rows]))
    return Best(iou, index)


def _best_after(overlaps: Tensor, before: Best) -> Best:
    """(n,) the best of each row of (n, A), which is written over, among those after ``before``; -1 where none is."""
    place = torch.arange(overlaps.shape[1], device=overlaps.device)
    last_iou, last = before.iou.unsqueeze(1), before.partner.unsqueeze(1)
    overlaps.masked_fill_((overlaps > last_iou) | ((overlaps == last_iou) & (place <= last)), -1.0)
    return Best(*overlaps.max(dim=1))


def equal_in_rows(anchors: Tensor, boxes: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) rows and anchors of all pairs of a box (n, 4) and an anchor (A, 4) whose IoU is exactly the box's (n,)."""
    size = max(1, BLOCK_ELEMENTS // len(anchors))
    found = [boxes.new_zeros(0, 2, dtype=torch.int64)]
    for start in range(0, len(boxes), size):
        rows = slice(start, start + size)
        pairs = (box_iou(boxes[rows], anchors) == iou[rows].unsqueeze(1)).nonzero()
        found.append(pairs + pairs.new_tensor([start, 0]))
    row, anchor = torch.cat(found).unbind(1)
    return row, anchor
