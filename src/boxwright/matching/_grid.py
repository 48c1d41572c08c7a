"""Overlaps of targets with regular grids of anchors, looking only at cells that can reach a threshold.

Idea: all anchors of one shape on one level have the same size, so their intersection with a target depends only on how
far apart the centers are, and shrinks as they move apart in x or y. The anchors that can reach a given IoU with a
target therefore lie in a rectangle of cells around its center, whose size follows from the two boxes' sides alone
(``_Bounds``). The cost grows with the number of targets instead of anchors x targets.

The pairs found are compared by the same operations as in ``BoxOverlaps``, and the bounds leave a margin for rounding,
so that results are the same bit for bit.

Shapes: A anchors, B images, G padded targets, T real targets of all images ("rows"), S anchor shapes of all levels,
P pairs of a row and an anchor.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from boxwright.anchors import Anchors, GridShapes
from boxwright.boxes import paired_iou
from boxwright.matching._cells import anchors_between
from boxwright.matching._common import Best, Overlaps, best_of, center_distances, equal_in_rows, next_in_rows

LEAST_IOU = 1e-3  # below this best IoU, rounding decides: the target is compared with every anchor
_MARGIN = 1e-5  # subtracted from IoU thresholds, relative: a hundred times float32's rounding


class Pairs(NamedTuple):
    """Pairs (P,) of a real target, given by its row, and an anchor."""

    row: Tensor
    anchor: Tensor
    iou: Tensor

    def where(self, mask: Tensor) -> Pairs:
        """Select the pairs where mask (P,) holds."""
        kept = mask.nonzero().squeeze(1)
        return Pairs(*(column.index_select(0, kept) for column in self))

    def join(self, others: Pairs) -> Pairs:
        """Append other pairs."""
        return Pairs(*map(torch.cat, zip(self, others, strict=True)))


class GridOverlaps(Overlaps):
    """Overlaps of all anchors of an image with the real targets among (B, G, 4), from ``floor`` on.

    ``forces``: whether each target's best anchors are needed too, however small their overlap.
    """

    def __init__(self, anchors: Anchors, boxes: Tensor, real: Tensor, floor: float, *, forces: bool) -> None:
        super().__init__(real, len(anchors), floor)
        self.anchors, self.boxes = anchors.corners, boxes
        self._owner = real.flatten().nonzero().squeeze(1)  # (T,) index of each row in B x G
        self._rows = boxes.reshape(-1, 4)[self._owner]
        self._bounds = _Bounds(anchors.grid_shapes, self._rows)
        self._nearest = torch.full_like(self._rows[:, 0], floor)  # (T,) lower bound of the best anchor's IoU
        if forces:
            self._nearest = paired_iou(self._rows.unsqueeze(1), self.anchors.boxes[self._bounds.nearest()]).amax(1)
        every = torch.arange(len(self._rows), device=boxes.device)
        min_iou = torch.where(self._nearest < LEAST_IOU, floor, self._nearest.clamp(max=floor))
        self._pairs = self._look_at(every, min_iou)
        self._open = Pairs(*(column[:0] for column in self._pairs))
        self._open_from = torch.full_like(min_iou, torch.inf)

    @cached_property
    def of_anchors(self) -> Best:  # type: ignore[override]  # found when asked for
        """(B, A) each anchor's best target where it reaches ``floor``, else 0 and 0."""
        (images, targets), total = self.real.shape, self.count
        row, anchor, iou = self._pairs.where(self._pairs.iou >= self.floor)
        owner = self._owner[row]
        image = owner // targets
        best = best_of(image * total + anchor, iou, owner - image * targets, images * total)
        return Best(best.iou.view(images, total), best.partner.view(images, total))

    @cached_property
    def of_targets(self) -> Best:  # type: ignore[override]  # found when asked for
        """(B, G) each target's best anchor; IoU -1 for targets that are not real."""
        row, anchor, iou = self._pairs.where(self._pairs.iou >= self._nearest[self._pairs.row])
        found = best_of(row, iou, anchor, len(self._rows))
        lost = self._lost
        if len(lost):
            every = Best(torch.full_like(found.iou[lost], torch.inf), found.partner[lost])
            found.iou[lost], found.partner[lost] = next_in_rows(self.anchors, self._rows[lost], every)
        iou = torch.full(self.real.shape, -1.0, device=found.iou.device)
        index = torch.zeros(self.real.shape, dtype=torch.int64, device=iou.device)
        iou.view(-1)[self._owner], index.view(-1)[self._owner] = found
        return Best(iou, index)

    def tied(self) -> tuple[Tensor, Best]:
        """Find the anchors that reach some target's best IoU."""
        best = self.of_targets.iou.view(-1)[self._owner]
        row, anchor, _ = self._pairs.where((self._pairs.iou == best[self._pairs.row]) & (self._pairs.iou > 0))
        lost = self._lost[best[self._lost] > 0]
        if len(lost):
            lost_row, lost_anchor = equal_in_rows(self.anchors, self._rows[lost], best[lost])
            row, anchor = torch.cat([row, lost[lost_row]]), torch.cat([anchor, lost_anchor])
        tied = torch.zeros_like(self.of_anchors.partner, dtype=torch.bool)
        tied[self._owner[row] // self.real.shape[1], anchor] = True
        known = self.of_anchors
        image, anchor = (tied & (known.iou < self.floor)).nonzero(as_tuple=True)
        iou = paired_iou(self.boxes[image], self.anchors.boxes[anchor].unsqueeze(1))
        known.iou[image, anchor], known.partner[image, anchor] = iou.masked_fill_(~self.real[image], -1.0).max(1)
        return tied, known

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best:
        """Find each target's best anchor after ``before``, in order of falling IoU and rising index; all are (n,).

        Pairs are searched down to half of the last IoU at a time, and below ``LEAST_IOU`` among all anchors.
        """
        row = torch.searchsorted(self._owner, image * self.real.shape[1] + target)
        while True:
            found = self._next_open(row, before)
            min_iou = self._open_from[row]
            missing = (found.iou < min_iou) & (before.iou.minimum(min_iou) / 2 >= LEAST_IOU)
            if not missing.any():
                break
            more = row[missing]
            self._open_from[more] = before.iou.minimum(min_iou)[missing] / 2
            self._open = self._open.join(self._look_at(more, self._open_from[more]))
        far = (found.iou < min_iou).nonzero().squeeze(1)
        if len(far):
            rest = next_in_rows(self.anchors, self._rows[row[far]], Best(before.iou[far], before.partner[far]))
            found.iou[far], found.partner[far] = rest
        return found

    def usable(self, anchor: Tensor | slice) -> Tensor:
        """Tell which anchors are finite."""
        return self.anchors.usable(anchor)

    def distances(self, part: slice) -> Tensor:
        """Compute the center distances of the targets in ``part``."""
        return center_distances(self.anchors.boxes, self.boxes[:, part])

    @cached_property
    def _lost(self) -> Tensor:
        """(L,) rows of the targets that must be compared with every anchor."""
        return (self._nearest < LEAST_IOU).nonzero().squeeze(1)

    def _next_open(self, row: Tensor, before: Best) -> Best:
        place = torch.full_like(self._owner, -1)
        place[row] = torch.arange(len(row), device=row.device)
        asked, anchor, iou = self._open._replace(row=place[self._open.row]).where(place[self._open.row] >= 0)
        last_iou, last = before.iou[asked], before.partner[asked]
        after = ((iou < last_iou) | ((iou == last_iou) & (anchor > last))).nonzero().squeeze(1)
        return best_of(asked[after], iou[after], anchor[after], len(row))

    def _look_at(self, row: Tensor, min_iou: Tensor) -> Pairs:
        """Compute all pairs of these rows (n,) that reach IoU ``min_iou`` (n,), and some others."""
        place, anchor = self._bounds.cells(row, min_iou * (1 - _MARGIN))
        row = row.index_select(0, place)
        boxes, anchors = self._rows.index_select(0, row), self.anchors.boxes.index_select(0, anchor)
        return Pairs(row, anchor, paired_iou(boxes, anchors))


class _Bounds:
    """Which cells a target can overlap by how much; in float64, x before y."""

    def __init__(self, shapes: GridShapes, boxes: Tensor) -> None:
        boxes = boxes.double()
        self.shapes = shapes
        self.sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)  # (T, 2)
        centers = (boxes[:, :2] + boxes[:, 2:]).unsqueeze(1) / 2
        # (T, S, 2) the target's center in cells of each shape's level
        self.place = centers / shapes.pitch - shapes.offset
        # rounding of the anchors; a target's own coordinates are exact, however far away it is
        self.slack = shapes.slack

    def nearest(self) -> Tensor:
        """Find the anchor of each shape whose center is nearest, (T, S)."""
        cell = self.place.round().clamp(min=0).minimum(self.shapes.last_cell).long()
        return self.shapes.first + (cell * self.shapes.steps).sum(-1)

    def cells(self, row: Tensor, min_iou: Tensor) -> tuple[Tensor, Tensor]:
        """List indices into ``row`` (n,) and anchors, (P,) each, of all pairs that can reach IoU ``min_iou`` (n,).

        IoU = shared / (a + g - shared) >= least means shared >= need = least / (1 + least) x (a + g) for a shape of
        area a and a target of area g. The shared height is at most the smaller of the two heights, so the shared width
        must be at least need / height, which limits how far apart the centers can be in x; and the same in y.
        """
        shapes, slack = self.shapes, self.slack
        grown = shapes.sides + 2 * slack  # (S, 2): as large as rounding can make the anchors
        smallest = (shapes.sides - 2 * slack).clamp(min=0).prod(-1)
        sides, share = self.sides.index_select(0, row), (min_iou / (1 + min_iou)).double()
        width, height = (
            torch.minimum(sides[:, axis, None], grown[:, axis]) for axis in (0, 1)
        )  # (n, S) largest possible shared width and height
        # The area to be shared (n, S), then (P,) the pairs of a target and a shape whose sides allow it at all
        need = share.unsqueeze(1) * (sides.prod(-1, keepdim=True) + smallest)
        place, shape = (width * height >= need).nonzero(as_tuple=True)
        flat = place * len(shapes.sides) + shape
        need, width, height = (values.flatten().index_select(0, flat) for values in (need, width, height))
        # (P, 2) sides to be shared, then the largest distance of the centers in pixels and in cells
        least_shared = torch.stack([need / height, need / width], dim=-1)
        apart = (sides.index_select(0, place) + grown.index_select(0, shape)) / 2 + slack - least_shared
        reach = apart / shapes.pitch.index_select(0, shape)
        center = self.place.flatten(0, 1).index_select(0, row.index_select(0, place) * len(shapes.sides) + shape)
        found, _, anchor = anchors_between(place, shape, center - reach, center + reach, shapes)
        return found, anchor
