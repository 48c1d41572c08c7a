"""Matching by points: an anchor's centre inside a target of its level's size (FCOS, arXiv 1904.01355, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from boxwright.anchors import Anchors
from boxwright.boxes import box_area
from boxwright.matching._cells import anchors_between
from boxwright.matching._common import matches_by_rule, prepare_targets
from boxwright.matching._overlaps import best_of
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

    Only cells inside a target are looked at. Raises ValueError for a reach or radius not above 0, and other shapes.
    """
    if not reach > 0 or (radius is not None and not radius > 0):
        raise ValueError(f"Expected reach and radius above 0 but got {reach} and {radius}")
    boxes, real = prepare_targets(boxes, labels, ignore)
    (images, targets), total = labels.shape, len(anchors)
    owner = real.flatten().nonzero().squeeze(1)
    rows = boxes.reshape(-1, 4)[owner]
    row, anchor = _inside(anchors, rows, reach, radius)
    _, rank = torch.unique(box_area(rows), return_inverse=True)
    image = owner[row] // max(targets, 1)
    place, target = image * total + anchor, owner[row] - image * targets
    smallest = best_of(place, (len(rows) - rank[row]).float(), target, images * total)
    positive, gt_index = (smallest.iou > 0).view(images, total), smallest.partner.view(images, total)
    return matches_by_rule(positive, gt_index, anchors.boxes, (boxes, labels, ignore), ignore_ioa)


def _inside(anchors: Anchors, boxes: Tensor, reach: float, radius: float | None) -> tuple[Tensor, Tensor]:
    """(P,) rows of the boxes (T, 4) and anchors of all pairs that match."""
    shapes = anchors.grid_shapes
    lower, upper, stride = _limits(anchors, reach)
    first, last = boxes.double().unsqueeze(1).chunk(2, dim=-1)
    side = (last - first).amax(-1)
    # The largest distance is at least half of the larger side
    row, shape = ((side > lower) & (side / 2 <= upper)).nonzero(as_tuple=True)
    low, high = ((edge / shapes.pitch - shapes.offset)[row, shape] for edge in (first, last))
    row, shape, anchor = anchors_between(row, shape, low - _SLACK, high + _SLACK, shapes)
    box, candidate = boxes[row], anchors.boxes[anchor]
    centre = (candidate[:, :2] + candidate[:, 2:]) / 2
    distances = torch.cat([centre - box[:, :2], box[:, 2:] - centre], dim=-1)
    farthest = distances.amax(-1)
    matches = (distances > 0).all(-1) & (farthest > lower[shape]) & (farthest <= upper[shape])
    if radius is not None:
        off = (centre - (box[:, :2] + box[:, 2:]) / 2).abs().amax(-1)
        matches &= off < radius * stride[shape]
    kept = matches.nonzero().squeeze(1)
    return row[kept], anchor[kept]


def _limits(anchors: Anchors, reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """(S,) for each shape its level's limits, the largest distance being above the first and at most the second, and
    its level's stride."""
    rows = []
    for place, level in enumerate(anchors.levels):
        lower = reach * anchors.levels[place - 1].stride if place else 0.0
        upper = reach * level.stride if place + 1 < len(anchors.levels) else math.inf
        rows += [(lower, upper, level.stride)] * len(level.shapes)
    lower_limit, upper_limit, stride = torch.tensor(rows, device=anchors.boxes.device).unbind(1)
    return lower_limit, upper_limit, stride
