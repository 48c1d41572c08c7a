"""What every NMS shares: input checks and the search for boxes that overlap.

The search avoids the n x n matrix on the CPU. After sorting by class and left edge, all boxes that can overlap box i
closely in x follow it directly, up to a limit that a binary search finds (``_sweep``). Only these are compared in y
(``close_pairs``). It may return too many pairs, never too few: callers compute the exact overlap.

Shapes: n candidates, p pairs, k and m boxes of two sets.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from boxwright._util.devices import is_near
from boxwright.boxes import at_least_float32, center_penalty, paired_iou

NmsOverlap = Literal["iou", "diou"]

# Rows compared at a time: enough to make calls cheap, few enough to skip most columns.
_ROWS = 128
# On a device: matrix elements of a block, whose temporaries are 4 bytes each, and of a part, 1 byte each. The search
# waits for the device once per part, to read the pairs found.
_BLOCK = 1 << 23
_PART = 1 << 28
# The search's thresholds are lower by this, far more than rounding can change an overlap.
_SLACK = 1e-4


def check_candidates(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> None:
    """Raise ValueError for boxes other than (n, 4), scores and labels other than (n,), or a threshold not in 0..1."""
    if not 0 <= iou <= 1:
        raise ValueError(f"Expected an NMS threshold in 0..1 but got {iou}")
    if boxes.shape != (len(scores), 4) or scores.shape != labels.shape:
        raise ValueError(
            f"Expected boxes (n, 4), scores (n,) and labels (n,) but got {tuple(boxes.shape)}, {tuple(scores.shape)} "
            f"and {tuple(labels.shape)}"
        )


def is_sound(boxes: Tensor, scores: Tensor) -> Tensor:
    """Tell which boxes (..., n, 4) are finite and have a score that is not NaN, (..., n) bool."""
    return boxes.isfinite().all(-1) & ~scores.isnan()


class Candidates(NamedTuple):
    """Candidates in at least float32. On a device unsound ones are still present, as NaN throughout."""

    given: Tensor
    """(m,) which of those given."""
    boxes: Tensor
    scores: Tensor
    labels: Tensor


def sound_candidates(boxes: Tensor, scores: Tensor, labels: Tensor, agnostic: bool) -> Candidates:
    """Keep the sound candidates of (n, 4), (n,), (n,), all with one label if ``agnostic``."""
    sound = is_sound(boxes, scores)
    boxes, scores = at_least_float32(boxes), at_least_float32(scores)
    if agnostic:
        labels = torch.zeros_like(labels)
    if not is_near(boxes):  # counting them would mean waiting
        index = torch.arange(len(boxes), device=boxes.device)
        return Candidates(
            index, boxes.masked_fill(~sound.unsqueeze(1), torch.nan), scores.masked_fill(~sound, torch.nan), labels
        )
    index = sound.nonzero().squeeze(1)
    return Candidates(index, boxes.index_select(0, index), scores.index_select(0, index), labels.index_select(0, index))


def by_falling_score(candidates: Candidates) -> Candidates:
    """Sort the candidates by falling score; among equal ones the lower index comes first."""
    order = candidates.scores.argsort(descending=True, stable=True)
    return Candidates(*(values.index_select(0, order) for values in candidates))


def check_overlap(kind: str, beta: float) -> None:
    """Raise ValueError for an unknown overlap kind, or for a beta that is not positive or has no effect."""
    if kind not in get_args(NmsOverlap):
        raise ValueError(f"Expected an NMS kind out of {get_args(NmsOverlap)} but got {kind!r}")
    if not beta > 0 or (kind != "diou" and beta != 1):
        raise ValueError(f"Expected a beta above 0, other than 1 with 'diou' alone, but got {beta} with {kind!r}")


def overlap(a: Tensor, b: Tensor, kind: NmsOverlap = "iou", beta: float = 1.0) -> Tensor:
    """Compute the overlap (p,) of boxes (p, 4) and (p, 4): IoU, for "diou" less (rho2 / c2)^beta.

    Source: arXiv 1911.08287, eq. 13, which has beta 1.
    """
    iou = paired_iou(a, b)
    return iou if kind == "iou" else iou - center_penalty(a, b) ** beta


def close_pairs(boxes: Tensor, labels: Tensor, min_iou: float) -> tuple[Tensor, Tensor]:
    """List pairs (p,), (p,) of boxes (n, 4) of one label: all with IoU above ``min_iou`` and some others.

    Each pair appears once, the lower index first. Boxes with IoU above ``min_iou`` share more than ``min_iou`` of the
    longer side in x and in y. On the CPU blocks of rows are compared in y with only the columns that are near enough in
    x; on a device all boxes are compared, and NaN is close to nothing.
    """
    if not is_near(boxes):
        return _close_pairs_of_all(boxes, labels, min_iou)
    order, ends = _sweep(boxes, labels, min_iou - _SLACK)
    vertical = _intervals(boxes.index_select(0, order), 1, min_iou)
    place = torch.arange(len(boxes), device=boxes.device)
    found = [place.new_zeros(0, 2)]
    for start in range(0, len(boxes), _ROWS):
        rows = slice(start, start + _ROWS)
        columns = slice(start, int(ends[rows].max()))
        close = _share(vertical[:, rows], vertical[:, columns])
        close &= place[columns] < ends[rows, None]
        found.append(close.triu(diagonal=1).nonzero() + start)
    a, b = (order.index_select(0, places) for places in torch.cat(found).unbind(1))
    return torch.minimum(a, b), torch.maximum(a, b)


def _close_pairs_of_all(boxes: Tensor, labels: Tensor, min_iou: float) -> tuple[Tensor, Tensor]:
    """Do the same as ``close_pairs`` over the matrix of all boxes (n, 4).

    Waits for the device once, and once more for each 2^28 elements.
    """
    count = len(boxes)
    horizontal, vertical = _intervals(boxes, 0, min_iou), _intervals(boxes, 1, min_iou)
    place = torch.arange(count, device=boxes.device)
    rows, rows_of_part = (max(limit // max(count, 1), 1) for limit in (_BLOCK, _PART))
    found = [place.new_zeros(2, 0)]
    for first in range(0, count, rows_of_part):
        last = min(first + rows_of_part, count)
        close = torch.empty(last - first, count, dtype=torch.bool, device=boxes.device)
        for start in range(first, last, rows):
            block = slice(start, min(start + rows, last))
            shared = _share(horizontal[:, block], horizontal) & _share(vertical[:, block], vertical)
            shared &= (labels[block, None] == labels) & (place[block, None] < place)
            close[block.start - first : block.stop - first] = shared
        a, b = close.nonzero().unbind(1)
        found.append(torch.stack([a + first, b]))
    better, worse = torch.cat(found, dim=1)
    return better, worse


def crossing_pairs(
    boxes: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor, min_iou: float
) -> tuple[Tensor, Tensor]:
    """List pairs (p,), (p,) of a box (k, 4) and one of the others (m, 4) as ``close_pairs`` does, for small k."""
    close = _share(_intervals(boxes, 0, min_iou), _intervals(others, 0, min_iou))
    close &= _share(_intervals(boxes, 1, min_iou), _intervals(others, 1, min_iou))
    close &= labels[:, None] == other_labels
    return close.nonzero(as_tuple=True)  # type: ignore[return-value]


def _intervals(boxes: Tensor, axis: int, min_iou: float) -> Tensor:
    """Compute the ends of boxes (n, 4) along x or y, and the length that a close box must share with it: (3, n)."""
    low, high = boxes[:, axis], boxes[:, axis + 2]
    return torch.stack([low, high, (min_iou - _SLACK) * (high - low)])


def _share(a: Tensor, b: Tensor) -> Tensor:
    """Tell whether intervals (3, k) and (3, m) share as much as both need, (k, m) bool."""
    low, high, needed = a.unsqueeze(2)
    other_low, other_high, other_needed = b
    shared = torch.minimum(high, other_high).sub_(torch.maximum(low, other_low))
    return shared > torch.maximum(needed, other_needed)


def _sweep(boxes: Tensor, labels: Tensor, min_iou: float) -> tuple[Tensor, Tensor]:
    """Order boxes by label and left edge, (n,), and find for each position the end (n,) of those near enough in x.

    Two close boxes have left edges at most the share 1 - ``min_iou`` of the left one's width apart. Ranks of edges,
    offset by class, are compared instead of coordinates: classes cannot meet, and rounding, which keeps the order of
    edges, loses no pair.
    """
    left = boxes[:, 0].contiguous()
    edges = left.sort().values
    offset = labels.long() * (len(boxes) + 1)
    keys, order = (offset + torch.searchsorted(edges, left)).sort()
    limit = left + (1 - min_iou) * (boxes[:, 2] - left)
    reach = offset + torch.searchsorted(edges, limit, right=True)
    return order, torch.searchsorted(keys, reach.index_select(0, order))
