"""Shared parts of the matchers: which targets and anchors take part, their overlaps, and ignored boxes.

Overlaps are computed from boxes block by block, or taken from a given matrix. No shape depends on values, so that
nothing waits for a device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from boxwright._util.checks import check_targets, has_area
from boxwright._util.devices import is_near
from boxwright.anchors import Anchors
from boxwright.boxes import Corners, at_least_float32, paired_iou
from boxwright.ranking import top
from boxwright.types import Matches

# Matrix elements held at a time: 1 MB of float32 stays in a core's cache; devices hold 256 MB.
BLOCK_ELEMENTS = {"cpu": 1 << 18}
DEVICE_BLOCK_ELEMENTS = 1 << 26


def block_size(rows: int, device: torch.device) -> int:
    """Return how many columns of ``rows`` rows are held at a time."""
    return max(1, BLOCK_ELEMENTS.get(device.type, DEVICE_BLOCK_ELEMENTS) // max(rows, 1))


class Best(NamedTuple):
    """The best partner of each element of one side; ties go to the lower index."""

    iou: Tensor
    """Its IoU; 0 or less where there is no partner."""
    partner: Tensor
    """int64, index on the other side."""


def best_of(place: Tensor, iou: Tensor, index: Tensor, count: int) -> Best:
    """Find the best of the candidates (n,) for each ``place`` (n,): (count,), IoU above 0, ties to the lower index."""
    best = iou.new_zeros(count).scatter_reduce_(0, place, iou, "amax")
    last = torch.iinfo(torch.int64).max
    leads = torch.where((iou == best[place]) & (iou > 0), index, last)
    lowest = index.new_full((count,), last).scatter_reduce_(0, place, leads, "amin")
    return Best(best, lowest.masked_fill_(best <= 0, 0))


def prepare(
    anchors: Anchors | Tensor, boxes: Tensor, labels: Tensor, ignore: Tensor | None, classes: int | None = None
) -> tuple[Corners, Tensor, Tensor]:
    """Select what can be matched: the anchors (A, 4), boxes (B, G, 4), and which boxes take part, (B, G) bool.

    Anchors that are not finite become points at the origin that overlap nothing. Boxes are in at least float32, with 0
    for values that are not finite; those that take part are neither padding nor ignored, are finite and have an area.

    Raises:
        ValueError: As ``check_targets`` does.
    """
    sound = check_targets(boxes, labels, ignore, classes)
    corners = (Anchors(anchors, (), regular=False) if isinstance(anchors, Tensor) else anchors).corners
    boxes, real = at_least_float32(boxes), labels >= 0
    if not sound:
        real &= has_area(boxes)
    return corners, boxes.nan_to_num(0.0, 0.0, 0.0), real if ignore is None else real & ~ignore


def matches_by_rule(
    positive: Tensor,
    gt_index: Tensor,
    anchors: Corners,
    targets: tuple[Tensor, Tensor, Tensor | None],
    ignore_ioa: float,
) -> Matches:
    """Build matches whose positives (B, A) were chosen by a rule other than anchor IoU; gt_index is 0 elsewhere.

    ``iou`` still holds the anchors' IoU with their targets. ``targets`` are boxes, labels and ignore.
    """
    boxes, labels, ignore = targets
    if is_near(positive):  # positives are few: only they are computed
        iou = torch.zeros(positive.shape)
        image, anchor = positive.nonzero(as_tuple=True)
        iou[image, anchor] = paired_iou(boxes[image, gt_index[image, anchor]], anchors.boxes[anchor]).float()
    elif boxes.shape[1]:
        own = boxes.gather(1, gt_index.unsqueeze(-1).expand(-1, -1, 4))  # (B, A, 4)
        iou = torch.where(positive, paired_iou(own, anchors.boxes).float(), 0.0)
    else:
        iou = torch.zeros(positive.shape, device=positive.device)
    state = set_aside_ignored(positive.to(torch.int8), anchors, boxes, labels, ignore, ignore_ioa)
    return Matches(gt_index, state, iou)


def set_aside_ignored(
    state: Tensor, anchors: Corners, boxes: Tensor, labels: Tensor, ignore: Tensor | None, ignore_ioa: float
) -> Tensor:
    """Set ``state`` (B, A) to -1 for negatives under an ignored box: intersection / anchor area >= ``ignore_ioa``."""
    if ignore is None or not ignore.shape[1] or (is_near(ignore) and not ignore.any()):
        return state
    covered = ignored_share(anchors, boxes, labels, ignore) >= ignore_ioa
    return torch.where(covered & (state == 0), -1, state)


def ignored_share(anchors: Corners, boxes: Tensor, labels: Tensor, ignore: Tensor) -> Tensor:
    """Compute the largest share (B, A) of each anchor's area inside an ignored box; -1 in images without such a box."""
    ignored = ignore & (labels >= 0)
    if is_near(ignored):  # Ignored boxes are few: move them to the front and drop the columns that no image needs.
        order = ignored.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        order = order[:, : max(1, int(ignored.sum(1).max()))]
        ignored, boxes = ignored.gather(1, order), boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    boxes, below = boxes * ignored.unsqueeze(-1), (~ignored).unsqueeze(-1).to(boxes.dtype)
    shares, size = [], block_size(ignored.numel(), boxes.device)
    for start in range(0, len(anchors.boxes), size):
        part = anchors.part(start, start + size)
        shares.append(part.overlap(boxes, over="own").sub_(below).amax(1))  # points have a share of 0
    return torch.cat(shares, dim=1)


class Overlaps(ABC):
    """Overlaps of A anchors with the targets (B, G) that take part ("real"), from IoU ``floor`` on.

    ``complete``: whether all targets are known to be real.
    """

    of_anchors: Best
    """(B, A) each anchor's best target where it reaches ``floor``; elsewhere the same, or 0 and 0."""
    of_targets: Best
    """(B, G) each target's best anchor; IoU -1 for targets that are not real."""

    def __init__(self, real: Tensor, count: int, floor: float) -> None:
        self.real, self.count, self.floor = real, count, floor
        self.complete = is_near(real) and bool(real.all())

    @abstractmethod
    def tied(self) -> tuple[Tensor, Best]:
        """Find the anchors (B, A) bool that reach some target's best IoU above 0, and ``of_anchors`` with these."""

    @abstractmethod
    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """Find each target's best anchor after ``before``, in order of falling IoU and rising index; all are (n,)."""

    def usable(self, anchor: Tensor | slice) -> Tensor:
        """Tell which of these anchors (...) are finite, so that they can be matched at all."""
        return torch.ones(self.count, dtype=torch.bool, device=self.real.device)[anchor]

    def distances(self, part: slice) -> Tensor | None:
        """Compute squared center distances (B, g, A) of these targets to all anchors; infinite where one is not finite.

        None if positions are unknown.
        """
        return None


class DenseOverlaps(Overlaps):
    """Overlaps whose blocks are all available."""

    @abstractmethod
    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield overlaps (B, G, S) of the anchors from each start on; -1 for targets that are not real."""

    def best(self) -> tuple[Best, Best]:
        """Compute ``of_anchors`` and ``of_targets`` block by block."""
        images, rows = self.real.shape
        if not self.real.numel() or not self.count:
            anchor, target = (self.real.new_zeros(images, size, dtype=torch.int64) for size in (rows, self.count))
            return Best(target.float(), target), Best(anchor.float() - 1, anchor)
        anchors: list[Best] = []
        targets: list[Tensor] = []
        for start, iou in self.blocks():
            if rows == 1:
                highest = iou[:, 0]
                anchors.append(Best(highest, self.real.new_zeros(highest.shape, dtype=torch.int64)))
            elif is_near(iou) and iou.numel() >= 1 << 13 and iou.dtype in (torch.float32, torch.float64):
                # The first index of the maximum in a quarter of max's time: 0 where a row is highest, else -1, minus
                # its index.
                places = torch.arange(rows, dtype=iou.dtype).unsqueeze(-1)
                highest = iou.amax(1)
                ranks = (iou - highest.unsqueeze(1)).sign_().mul_(rows).sub_(places)
                anchors.append(Best(highest, -ranks.amax(1).long()))
            else:
                anchors.append(Best(*iou.max(dim=1)))
            value, index = iou.max(dim=2)
            if targets:
                better = value > targets[0]  # strictly better: an equal one in a later block has a higher index
                value, index = torch.where(better, value, targets[0]), torch.where(better, start + index, targets[1])
            targets = [value, index]
        if len(anchors) == 1:
            return anchors[0], Best(*targets)
        return Best(*(torch.cat(part, 1) for part in zip(*anchors, strict=True))), Best(*targets)

    def tied(self) -> tuple[Tensor, Best]:
        """Find the anchors that reach some target's best IoU."""
        best = self.of_targets.iou
        reachable = torch.where(best > 0, best, torch.inf).unsqueeze(-1)
        return torch.cat([(iou == reachable).any(1) for _, iou in self.blocks()], dim=1), self.of_anchors

    def top_anchors(self, count: int) -> Best:
        """Find the ``count`` best anchors of each target, (B, G, k), by falling IoU, then index; IoU 0 if too few."""
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

    Every element is computed by the same operations in any block, so results do not depend on the block size.
    """

    def __init__(self, anchors: Corners, boxes: Tensor, real: Tensor, floor: float) -> None:
        super().__init__(real, len(anchors.boxes), floor)
        self.anchors, self.boxes = anchors, boxes
        self._whole: Tensor | None = None
        self.of_anchors, self.of_targets = self.best()

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the IoU (B, G, S) of each block of anchors."""
        if self._whole is not None:
            yield 0, self._whole
            return
        real, size = self.real.unsqueeze(-1), block_size(self.real.numel(), self.real.device)
        for start in range(0, self.count, size):
            part = self.anchors if size >= self.count else self.anchors.part(start, start + size)
            if self.complete:
                iou = part.overlap(self.boxes)
            else:  # a point overlaps nothing, so 0 - 1 = -1: masks are slow on the CPU
                iou = part.overlap(self.boxes * real).sub_((~real).to(self.boxes.dtype))
            if size >= self.count:
                self._whole = iou
            yield start, iou

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """Compute all IoUs of these targets and take the next."""
        return next_in_rows(self.anchors, self.boxes[image, target], before)

    def usable(self, anchor: Tensor | slice) -> Tensor:
        """Tell which anchors are finite."""
        return self.anchors.usable(anchor)

    def distances(self, part: slice) -> Tensor:
        """Compute the center distances of the targets in ``part``."""
        return center_distances(self.anchors.boxes, self.boxes[:, part])


class MatrixOverlaps(DenseOverlaps):
    """Overlaps given as a matrix (B, G, A) of non-negative numbers; positions are unknown."""

    def __init__(self, matrix: Tensor, real: Tensor, floor: float) -> None:
        super().__init__(real, matrix.shape[2], floor)
        self._matrix = matrix.masked_fill(~real.unsqueeze(-1), -1.0)
        self.of_anchors, self.of_targets = self.best()

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the whole matrix as one block."""
        yield 0, self._matrix

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """Look up the next best anchor in the matrix."""
        return _best_after(self._matrix[image, target], before)


def center_distances(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Compute squared center distances (..., A) of boxes (..., 4) to anchors (A, 4); infinite if not finite."""
    centers = (anchors[:, :2].double() + anchors[:, 2:]) / 2  # float64 still tells distant centers apart
    distance = ((centers - (boxes[..., None, :2] + boxes[..., None, 2:]) / 2) ** 2).sum(-1)
    return distance.nan_to_num_(torch.inf)


def next_in_rows(anchors: Corners, boxes: Tensor, before: Best) -> Best:
    """Find the best of the anchors (A, 4) after ``before`` for each box (n, 4): (n,), IoU -1 where there is none."""
    iou, index = torch.full_like(before.iou, -1.0), torch.zeros_like(before.partner)
    size = block_size(len(anchors.boxes), boxes.device)
    for start in range(0, len(boxes), size):
        rows = slice(start, start + size)
        iou[rows], index[rows] = _best_after(anchors.overlap(boxes[rows]), Best(before.iou[rows], before.partner[rows]))
    return Best(iou, index)


def _best_after(overlaps: Tensor, before: Best) -> Best:
    """Find the best of each row of (n, A) after ``before``, (n,); -1 where there is none. Overwrites ``overlaps``."""
    place = torch.arange(overlaps.shape[1], device=overlaps.device)
    last_iou, last = before.iou.unsqueeze(1), before.partner.unsqueeze(1)
    overlaps.masked_fill_((overlaps > last_iou) | ((overlaps == last_iou) & (place <= last)), -1.0)
    return Best(*overlaps.max(dim=1))


def equal_in_rows(anchors: Corners, boxes: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """List rows and anchors (P,) of all pairs of a box (n, 4) and an anchor (A, 4) with exactly the box's IoU (n,)."""
    size = block_size(len(anchors.boxes), boxes.device)
    found = [boxes.new_zeros(0, 2, dtype=torch.int64)]
    for start in range(0, len(boxes), size):
        rows = slice(start, start + size)
        pairs = (anchors.overlap(boxes[rows]) == iou[rows].unsqueeze(1)).nonzero()
        found.append(pairs + pairs.new_tensor([start, 0]))
    row, anchor = torch.cat(found).unbind(1)
    return row, anchor
