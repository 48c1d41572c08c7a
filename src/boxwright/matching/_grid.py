"""Overlaps of targets with regular grids of anchors: only the cells that can reach a threshold are looked at.

On a grid, the area that a target shares with an anchor of one shape falls with the distance of their centres along x
and along y. So the cells where a shape may reach a given IoU with a target lie in a rectangle that a few sums tell, and
the cost grows with the targets and not with anchors x targets. What is looked at is computed by the same operations as
in ``BoxOverlaps``, and the bounds leave room for rounding, so that the results are the same to the last bit.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from boxwright.anchors import Anchors, GridShapes
from boxwright.boxes import paired_iou
from boxwright.matching._cells import anchors_between
from boxwright.matching._common import Best, Overlaps, best_of, centre_distances, equal_in_rows, next_in_rows

LEAST_IOU = 1e-3  # where a target's overlaps are lower, rounding decides: it is compared with every anchor
_MARGIN = 1e-5  # of an IoU: a hundred times float32's rounding


class Pairs(NamedTuple):
    """Pairs (P,) of a target, told by its row among the real ones, and an anchor."""

    row: Tensor
    anchor: Tensor
    iou: Tensor

    def where(self, mask: Tensor) -> Pairs:
        """Those where mask (P,) holds."""
        kept = mask.nonzero().squeeze(1)
        return Pairs(*(column.index_select(0, kept) for column in self))

    def join(self, others: Pairs) -> Pairs:
        """These and the others."""
        return Pairs(*map(torch.cat, zip(self, others, strict=True)))


class GridOverlaps(Overlaps):
    """Overlaps of all anchors of an image with the real among the targets (B, G, 4), from ``floor`` on.

    ``forces``: whether the best anchors of each target are wanted too, however little they overlap.
    """

    def __init__(self, anchors: Anchors, boxes: Tensor, real: Tensor, floor: float, *, forces: bool) -> None:
        super().__init__(real, len(anchors), floor)
        self.anchors, self.boxes = anchors.corners, boxes
        self._owner = real.flatten().nonzero().squeeze(1)  # (T,) place of each real target in B x G
        self._rows = boxes.reshape(-1, 4)[self._owner]
        self._bounds = _Bounds(anchors.grid_shapes, self._rows)
        self._nearest = torch.full_like(self._rows[:, 0], floor)  # (T,) an IoU that the best anchor has at least
        if forces:
            self._nearest = paired_iou(self._rows.unsqueeze(1), self.anchors.boxes[self._bounds.nearest()]).amax(1)
        every = torch.arange(len(self._rows), device=boxes.device)
        least = torch.where(self._nearest < LEAST_IOU, floor, self._nearest.clamp(max=floor))
        self._pairs = self._look_at(every, least)
        self._open = Pairs(*(column[:0] for column in self._pairs))
        self._open_from = torch.full_like(least, torch.inf)

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
        """(B, G) each target's best anchor; IoU -1 for those that aren't real."""
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
        """(n,) for each of these targets (n,) its best anchor that comes after ``before`` by falling IoU and index."""
        row = torch.searchsorted(self._owner, image * self.real.shape[1] + target)
        while True:
            found = self._next_open(row, before)
            least = self._open_from[row]
            missing = (found.iou < least) & (before.iou.minimum(least) / 2 >= LEAST_IOU)
            if not missing.any():
                break
            more = row[missing]
            self._open_from[more] = before.iou.minimum(least)[missing] / 2
            self._open = self._open.join(self._look_at(more, self._open_from[more]))
        far = (found.iou < least).nonzero().squeeze(1)
        if len(far):
            rest = next_in_rows(self.anchors, self._rows[row[far]], Best(before.iou[far], before.partner[far]))
            found.iou[far], found.partner[far] = rest
        return found

    def usable(self, anchor: Tensor | slice) -> Tensor:
        return self.anchors.usable(anchor)

    def distances(self, part: slice) -> Tensor:
        return centre_distances(self.anchors.boxes, self.boxes[:, part])

    @cached_property
    def _lost(self) -> Tensor:
        """(L,) rows of the targets that are compared with every anchor."""
        return (self._nearest < LEAST_IOU).nonzero().squeeze(1)

    def _next_open(self, row: Tensor, before: Best) -> Best:
        place = torch.full_like(self._owner, -1)
        place[row] = torch.arange(len(row), device=row.device)
        asked, anchor, iou = self._open._replace(row=place[self._open.row]).where(place[self._open.row] >= 0)
        last_iou, last = before.iou[asked], before.partner[asked]
        after = ((iou < last_iou) | ((iou == last_iou) & (anchor > last))).nonzero().squeeze(1)
        return best_of(asked[after], iou[after], anchor[after], len(row))

    def _look_at(self, row: Tensor, least: Tensor) -> Pairs:
        """All pairs of these rows (n,) that reach IoU ``least`` (n,), and some others."""
        place, anchor = self._bounds.cells(row, least * (1 - _MARGIN))
        row = row.index_select(0, place)
        boxes, anchors = self._rows.index_select(0, row), self.anchors.boxes.index_select(0, anchor)
        return Pairs(row, anchor, paired_iou(boxes, anchors))


class _Bounds:
    """Which cells a target can overlap how much; in float64, x before y."""

    def __init__(self, shapes: GridShapes, boxes: Tensor) -> None:
        boxes = boxes.double()
        self.shapes = shapes
        self.sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)  # (T, 2)
        centres = (boxes[:, :2] + boxes[:, 2:]).unsqueeze(1) / 2
        self.place = centres / shapes.pitch - shapes.offset  # (T, S, 2) in cells
        self.slack = shapes.slack  # a target's own coordinates are exact, however far it lies

    def nearest(self) -> Tensor:
        """(T, S) the anchor of each shape whose centre is nearest."""
        cell = self.place.round().clamp(min=0).minimum(self.shapes.last_cell).long()
        return self.shapes.first + (cell * self.shapes.steps).sum(-1)

    def cells(self, row: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) places in ``row`` (n,) and anchors of all pairs that can reach IoU ``least`` (n,).

        A shape of area a and a target of area g share need = least / (1 + least) x (a + g) to reach it. With the most
        that they share along y, this tells how much they must share along x, and so how far apart they may be.
        """
        shapes, slack = self.shapes, self.slack
        grown = shapes.sides + 2 * slack  # (S, 2): as large as rounding can make the anchors
        smallest = (shapes.sides - 2 * slack).clamp(min=0).prod(-1)
        sides, share = self.sides.index_select(0, row), (least / (1 + least)).double()
        width, height = (
            torch.minimum(sides[:, axis, None], grown[:, axis]) for axis in (0, 1)
        )  # (n, S) shared at most
        need = share.unsqueeze(1) * (sides.prod(-1, keepdim=True) + smallest)
        place, shape = (width * height >= need).nonzero(as_tuple=True)
        flat = place * len(shapes.sides) + shape
        need, width, height = (values.flatten().index_select(0, flat) for values in (need, width, height))
        least_shared = torch.stack([need / height, need / width], dim=-1)
        apart = (sides.index_select(0, place) + grown.index_select(0, shape)) / 2 + slack - least_shared
        reach = apart / shapes.pitch.index_select(0, shape)
        centre = self.place.flatten(0, 1).index_select(0, row.index_select(0, place) * len(shapes.sides) + shape)
        found, _, anchor = anchors_between(place, shape, centre - reach, centre + reach, shapes)
        return found, anchor
