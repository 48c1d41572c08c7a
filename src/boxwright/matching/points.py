"""Matching by points: an anchor's centre inside a target of its level's size (FCOS, arXiv 1904.01355, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from boxwright._util.devices import is_near
from boxwright.anchors import Anchors
from boxwright.boxes import box_area
from boxwright.matching._cells import anchors_between
from boxwright.matching._common import best_of, block_size, matches_by_rule, prepare
from boxwright.parts import matcher
from boxwright.types import Matches

_SLACK = 1e-3  # cells: room for the rounding of anchors' coordinates


@matcher(needs=("grid",))
@torch.no_grad()
def match_points(
    anchors: Anchors,
    boxes: Tensor,
    labels: Tensor,
    *,
    reach: float = 8.0,
    radius: float | None = None,
    ignore: Tensor | None = None,
    ignore_ioa: float = 0.5,
) -> Matches:
    """Match each target with the anchors whose centre is inside of it, on the level that its size belongs to.

    boxes (B, G, 4) in the anchors' pixels, labels (B, G) with -1 for padding, ignore (B, G) bool. A centre is inside
    where its distances to all four sides are above 0. A level takes a pair whose largest distance is at most ``reach``
    x its stride and above that of the level before; the first level has no lower limit and the last no upper one, so
    that each distance belongs to one level (8: FCOS's 64, 128, 256, 512 px on strides 8 to 128). With ``radius`` the
    centre must also lie within so many strides of the target's centre, along x and y (1.5 in FCOS's later form;
    UnitBox, arXiv 1608.01471, has neither). An anchor in several targets answers for the smallest (ties: the first).
    All else is negative, or -1 under an ignored box (intersection / anchor area >= ``ignore_ioa``). gt_index and iou
    are 0 where not positive. A target may stay without any anchor.

    On the CPU only cells inside a target are looked at. Raises ValueError for a reach or radius not above 0, and other
    shapes.
    """
    if not reach > 0 or (radius is not None and not radius > 0):
        raise ValueError(f"Expected reach and radius above 0 but got {reach} and {radius}")
    reference, boxes, real = prepare(anchors, boxes, labels, ignore)
    if is_near(boxes) and anchors.regular:
        positive, gt_index = _sparse(anchors, boxes, real, reach, radius)
    else:
        positive, gt_index = _dense(anchors, boxes, real, reach, radius)
    return matches_by_rule(positive, gt_index, reference, (boxes, labels, ignore), ignore_ioa)


def _sparse(anchors: Anchors, boxes: Tensor, real: Tensor, reach: float, radius: float | None) -> tuple[Tensor, Tensor]:
    """Positives and their targets (B, A), from the cells inside of the targets alone."""
    (images, targets), total = real.shape, len(anchors)
    owner = real.flatten().nonzero().squeeze(1)
    rows = boxes.reshape(-1, 4)[owner]
    lower, upper, stride = _limits(anchors, [len(level.shapes) for level in anchors.levels], reach)  # (S,)
    shapes = anchors.grid_shapes
    first, last = rows.double().unsqueeze(1).chunk(2, dim=-1)
    side = (last - first).amax(-1)
    # The largest distance is at least half of the larger side
    row, shape = ((side > lower) & (side / 2 <= upper)).nonzero(as_tuple=True)
    low, high = ((edge / shapes.pitch - shapes.offset)[row, shape] for edge in (first, last))
    row, shape, anchor = anchors_between(row, shape, low - _SLACK, high + _SLACK, shapes)
    limits = (lower[shape], upper[shape], stride[shape])
    kept = _match(anchors.boxes[anchor], rows[row], limits, radius).nonzero().squeeze(1)
    row, anchor = row[kept], anchor[kept]
    _, rank = torch.unique(box_area(rows), return_inverse=True)
    image = owner[row] // max(targets, 1)
    place, target = image * total + anchor, owner[row] - image * targets
    smallest = best_of(place, (len(rows) - rank[row]).float(), target, images * total)
    return (smallest.iou > 0).view(images, total), smallest.partner.view(images, total)


def _dense(anchors: Anchors, boxes: Tensor, real: Tensor, reach: float, radius: float | None) -> tuple[Tensor, Tensor]:
    """The same from every pair, without a look at any value; for devices that would have to be waited for."""
    limits = _limits(anchors, [level.count for level in anchors.levels], reach)  # (A,)
    area = torch.where(real, box_area(boxes), torch.inf).unsqueeze(-1)
    found, size = [], block_size(real.numel(), boxes.device)
    for start in range(0, len(anchors) if real.shape[1] else 0, size):
        part = slice(start, start + size)
        matches = _match(anchors.boxes[part], boxes.unsqueeze(2), [limit[part] for limit in limits], radius)
        found.append(torch.where(matches, area, torch.inf).min(dim=1))
    if not found:
        none = torch.zeros(len(real), len(anchors), dtype=torch.int64, device=real.device)
        return none > 0, none
    smallest, target = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    positive = smallest < torch.inf
    return positive, target * positive


def _match(anchors: Tensor, boxes: Tensor, limits: Sequence[Tensor], radius: float | None) -> Tensor:
    """(...) bool: which anchors (..., 4) match the boxes (..., 4) by the limits and stride (...) of their level."""
    lower, upper, stride = limits
    x, y = ((anchors[..., axis] + anchors[..., axis + 2]) / 2 for axis in (0, 1))
    x1, y1, x2, y2 = boxes.unbind(-1)
    sides = (x - x1, y - y1, x2 - x, y2 - y)
    farthest = reduce(torch.maximum, sides)
    matches = (reduce(torch.minimum, sides) > 0) & (farthest > lower) & (farthest <= upper)
    if radius is None:
        return matches
    off = torch.maximum((x - (x1 + x2) / 2).abs(), (y - (y1 + y2) / 2).abs())
    return matches & (off < radius * stride)


def _limits(anchors: Anchors, counts: Sequence[int], reach: float) -> list[Tensor]:
    """Each level's limits, the largest distance being above the first and at most the second, and its stride.

    All (n,) with as many of each level as ``counts`` says.
    """
    strides = [level.stride for level in anchors.levels]
    ends = [reach * stride for stride in strides[:-1]]
    device = anchors.boxes.device  # filled there: a copy would wait for it
    return [
        torch.cat([torch.full((count,), value, device=device) for count, value in zip(counts, values, strict=True)])
        for values in ([0.0, *ends], [*ends, math.inf], strides)
    ]
