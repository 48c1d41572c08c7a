"""Overlaps between anchors and targets: from their boxes, block by block, or from a matrix that is at hand.

No shape here depends on values, so that nothing waits for a device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from boxwright._util.checks import all_near
from boxwright.boxes import Corners
from boxwright.ranking import top

# Elements of the matrix that are held at a time: 1 MB of float32 stays in a core's cache, devices hold 256 MB.
BLOCK_ELEMENTS = {"cpu": 1 << 18}
DEVICE_BLOCK_ELEMENTS = 1 << 26


def block_size(rows: int, device: torch.device) -> int:
    """How many columns of ``rows`` rows are held at a time."""
    return max(1, BLOCK_ELEMENTS.get(device.type, DEVICE_BLOCK_ELEMENTS) // max(rows, 1))


class Best(NamedTuple):
    """The best partner of each of one side; ties go to the lower index."""

    iou: Tensor
    """Its IoU; 0 or less where there is none."""
    partner: Tensor
    """int64, which of the other side."""


def best_of(place: Tensor, iou: Tensor, index: Tensor, count: int) -> Best:
    """(count,) the best of the candidates (n,) for each place (n,): the highest IoU above 0, then the lowest index."""
    best = iou.new_zeros(count).scatter_reduce_(0, place, iou, "amax")
    last = torch.iinfo(torch.int64).max
    leads = torch.where((iou == best[place]) & (iou > 0), index, last)
    lowest = index.new_full((count,), last).scatter_reduce_(0, place, leads, "amin")
    return Best(best, lowest.masked_fill_(best <= 0, 0))


def best_rows(matrix: Tensor) -> Best:
    """(B, A) the highest of each column of (B, G, A), and the first row that has it."""
    if matrix.shape[1] == 1:
        return Best(matrix[:, 0], torch.zeros_like(matrix[:, 0], dtype=torch.int64))
    if matrix.device.type != "cpu" or matrix.numel() < 1 << 13 or matrix.dtype not in (torch.float32, torch.float64):
        return Best(*matrix.max(dim=1))
    # A quarter of the time of max there, which goes one by one: 0 where a row has the highest, else -1, less its place.
    highest_of = matrix.amax(1)
    places = torch.arange(matrix.shape[1], dtype=matrix.dtype).unsqueeze(-1)
    ranks = (matrix - highest_of.unsqueeze(1)).sign_().mul_(len(places)).sub_(places)
    return Best(highest_of, -ranks.amax(1).long())


class Overlaps(ABC):
    """Overlaps of A anchors with the real among the targets (B, G), from ``floor`` on.

    ``complete``: whether it is known that all are real.
    """

    def __init__(self, real: Tensor, count: int, floor: float) -> None:
        self.real, self.count, self.floor = real, count, floor
        self.complete = all_near(real)

    @property
    @abstractmethod
    def of_anchors(self) -> Best:
        """(B, A) each anchor's best target where it reaches ``floor``; elsewhere that, or 0 and 0."""

    @property
    @abstractmethod
    def of_targets(self) -> Best:
        """(B, G) each target's best anchor; IoU -1 for those that aren't real."""

    @abstractmethod
    def tied(self) -> tuple[Tensor, Best]:
        """(B, A) bool: which anchors reach some target's best IoU, if that is above 0; ``of_anchors``, with theirs."""

    @abstractmethod
    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """(n,) for each of these targets (n,) its best anchor that comes after ``before`` by falling IoU and index."""

    def usable(self, anchor: Tensor | slice) -> Tensor:
        """(...) bool: which of these anchors (...) are finite, so that they can be matched at all."""
        return torch.ones(self.count, dtype=torch.bool, device=self.real.device)[anchor]

    def distances(self, part: slice) -> Tensor | None:
        """(B, g, A) squared distances from these targets' centres to the anchors', infinite where one isn't finite.

        None where no places are known.
        """
        return None


class DenseOverlaps(Overlaps):
    """Overlaps of which every block is at hand."""

    @abstractmethod
    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Overlaps (B, G, S) of the anchors from each start on; -1 for targets that are not real."""

    @property
    def of_anchors(self) -> Best:
        return self._best[0]

    @property
    def of_targets(self) -> Best:
        return self._best[1]

    @cached_property
    def _best(self) -> tuple[Best, Best]:
        anchors: list[Best] = []
        targets: list[Tensor] = []
        for start, iou in self.blocks():
            anchors.append(best_rows(iou))
            value, index = iou.max(dim=2)
            if targets:
                better = value > targets[0]  # strictly: an equal one further on has a higher index
                value, index = torch.where(better, value, targets[0]), torch.where(better, start + index, targets[1])
            targets = [value, index]
        of_anchors = (
            anchors[0] if len(anchors) == 1 else Best(*(torch.cat(part, 1) for part in zip(*anchors, strict=True)))
        )
        return of_anchors, Best(*targets)

    def tied(self) -> tuple[Tensor, Best]:
        best = self.of_targets.iou
        reachable = torch.where(best > 0, best, torch.inf).unsqueeze(-1)
        return torch.cat([(iou == reachable).any(1) for _, iou in self.blocks()], dim=1), self.of_anchors

    def top_anchors(self, count: int) -> Best:
        """(B, G, k) the ``count`` best anchors of each target, by falling IoU, then by index; IoU 0 where too few."""
        kept: Best | None = None
        for start, iou in self.blocks():
            value, place = top(iou.clamp(min=0), count)
            place = place + start
            if kept is not None:
                value, order = top(torch.cat([kept.iou, value], 2), count)
                place = torch.cat([kept.partner, place], 2).gather(2, order)
            kept = Best(value, place)
        assert kept is not None
        return kept


class BoxOverlaps(DenseOverlaps):
    """Overlaps of anchors (A, 4) with targets (B, G, 4).

    Every element is computed by the same operations whatever the block, so results don't depend on the block size.
    """

    def __init__(self, anchors: Corners, boxes: Tensor, real: Tensor, floor: float) -> None:
        super().__init__(real, len(anchors.boxes), floor)
        self.anchors, self.boxes = anchors, boxes
        self._whole: Tensor | None = None

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        size = block_size(self.real.numel(), self.real.device)
        if size < self.count:
            for start in range(0, self.count, size):
                yield start, self._masked(self.anchors.part(start, start + size))
        else:
            self._whole = self._masked(self.anchors) if self._whole is None else self._whole
            yield 0, self._whole

    def _masked(self, anchors: Corners) -> Tensor:
        # A point, which overlaps nothing by 0, less 1: masks are slow on the CPU
        if self.complete:
            return anchors.iou(self.boxes)
        real = self.real.unsqueeze(-1)
        return anchors.iou(self.boxes * real).sub_((~real).to(self.boxes.dtype))

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        return next_in_rows(self.anchors, self.boxes[image, target], before)

    def usable(self, anchor: Tensor | slice) -> Tensor:
        return self.anchors.usable(anchor)

    def distances(self, part: slice) -> Tensor:
        return centre_distances(self.anchors.boxes, self.boxes[:, part])


class MatrixOverlaps(DenseOverlaps):
    """Overlaps that are given as a matrix (B, G, A) of numbers of at least 0. Nothing is known of places."""

    def __init__(self, matrix: Tensor, real: Tensor, floor: float) -> None:
        super().__init__(real, matrix.shape[2], floor)
        self._matrix = matrix.masked_fill(~real.unsqueeze(-1), -1.0)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        yield 0, self._matrix

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        return _best_after(self._matrix[image, target], before)


def centre_distances(anchors: Tensor, boxes: Tensor) -> Tensor:
    """(..., A) squared distances from centres of boxes (..., 4) to those of anchors (A, 4), infinite if not finite."""
    centres = (anchors[:, :2].double() + anchors[:, 2:]) / 2  # float64 tells them apart from far
    distance = ((centres - (boxes[..., None, :2] + boxes[..., None, 2:]) / 2) ** 2).sum(-1)
    return distance.nan_to_num_(torch.inf)


def next_in_rows(anchors: Corners, boxes: Tensor, before: Best) -> Best:
    """(n,) the best of the anchors (A, 4) for each box (n, 4) among those after ``before``; IoU -1 where none is."""
    iou, index = torch.full_like(before.iou, -1.0), torch.zeros_like(before.partner)
    size = block_size(len(anchors.boxes), boxes.device)
    for start in range(0, len(boxes), size):
        rows = slice(start, start + size)
        iou[rows], index[rows] = _best_after(anchors.iou(boxes[rows]), Best(before.iou[rows], before.partner[rows]))
    return Best(iou, index)


def _best_after(overlaps: Tensor, before: Best) -> Best:
    """(n,) the best of each row of (n, A), which is written over, among those after ``before``; -1 where none is."""
    place = torch.arange(overlaps.shape[1], device=overlaps.device)
    last_iou, last = before.iou.unsqueeze(1), before.partner.unsqueeze(1)
    overlaps.masked_fill_((overlaps > last_iou) | ((overlaps == last_iou) & (place <= last)), -1.0)
    return Best(*overlaps.max(dim=1))


def equal_in_rows(anchors: Corners, boxes: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) rows and anchors of all pairs of a box (n, 4) and an anchor (A, 4) whose IoU is exactly the box's (n,)."""
    size = block_size(len(anchors.boxes), boxes.device)
    found = [boxes.new_zeros(0, 2, dtype=torch.int64)]
    for start in range(0, len(boxes), size):
        rows = slice(start, start + size)
        pairs = (anchors.iou(boxes[rows]) == iou[rows].unsqueeze(1)).nonzero()
        found.append(pairs + pairs.new_tensor([start, 0]))
    row, anchor = torch.cat(found).unbind(1)
    return row, anchor
