"""Matching by points: an anchor's center inside a target of its level's size (FCOS, arXiv 1904.01355, section 3.2)."""

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

_SLACK = 1e-3  # in cells: margin for the rounding of anchor coordinates


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
    """Match each target with the anchors whose center is inside it, on the level that fits its size.

    A center is inside where its distances to all four sides are above 0. A level takes a pair whose largest distance is
    at most ``reach`` x its stride and above that of the level before; the first level has no lower limit and the last
    no upper one, so that each distance belongs to one level. An anchor inside several targets answers for the smallest
    (ties: the first). All others are negative, or -1 under an ignored box. A target may get no anchor. On the CPU only
    cells inside a target are looked at.

    Args:
        anchors: Anchors of the image.
        boxes: Targets (B, G, 4) in the anchors' pixels.
        labels: Classes (B, G) int64, -1 for padding.
        reach: Largest distance of a level in its strides; 8 is FCOS's 64, 128, 256, 512 px on strides 8 to 128.
        radius: The center must also be within this many strides of the target's center, in x and y (1.5 in later
            versions of FCOS). None: no such limit, as in UnitBox, arXiv 1608.01471.
        ignore: Boxes (B, G) bool that are not matched, such as crowds.
        ignore_ioa: Share of an anchor's area inside an ignored box from which on it is ignored.

    Returns:
        Matches (B, A); gt_index and iou are 0 where not positive.

    Raises:
        ValueError: If ``reach`` or ``radius`` is not above 0, or shapes do not fit.

    Examples:
        >>> anchors = bw.anchors.make_anchors(bw.anchors.AnchorSpec.squares((8, 16), 4), 64)
        >>> boxes, labels = torch.tensor([[[10.0, 10, 40, 40]]]), torch.tensor([[0]])
        >>> bw.matching.match_points(anchors, boxes, labels).state.sum()
        tensor(16)
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
    """Compute positives and their targets (B, A) from the cells inside the targets only."""
    (images, targets), total = real.shape, len(anchors)
    owner = real.flatten().nonzero().squeeze(1)
    rows = boxes.reshape(-1, 4)[owner]
    lower, upper, stride = _limits(anchors, [len(level.shapes) for level in anchors.levels], reach)  # (S,)
    shapes = anchors.grid_shapes
    first, last = rows.double().unsqueeze(1).chunk(2, dim=-1)
    side = (last - first).amax(-1)
    # The largest distance is at least half of the larger side.
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
    """Compute the same from all pairs without reading any value, for devices that would have to be waited for."""
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
    """Tell which anchors (..., 4) match the boxes (..., 4) by the limits and stride (...) of their level."""
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
    """Compute each level's limits of the largest distance (above the first, at most the second) and its stride.

    All are (n,), repeated as often as ``counts`` says for each level.
    """
    strides = [level.stride for level in anchors.levels]
    ends = [reach * stride for stride in strides[:-1]]
    device = anchors.boxes.device  # filled on the device: a copy would wait for it
    return [
        torch.cat([torch.full((count,), value, device=device) for count, value in zip(counts, values, strict=True)])
        for values in ([0.0, *ends], [*ends, math.inf], strides)
    ]
