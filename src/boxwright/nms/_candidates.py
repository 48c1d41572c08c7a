"""What every NMS shares: the check of its input, and the search for boxes that overlap."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright.boxes import centre_penalty, paired_iou

NmsOverlap = Literal["iou", "diou"]

# Rows compared at a time: enough to make calls cheap, few enough to skip most columns.
_ROWS = 128
# Thresholds of the search are lower by this, far more than what rounding can take off an overlap.
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


def sound_candidates(boxes: Tensor, scores: Tensor) -> Tensor:
    """Indices (m,) of the boxes (n, 4) that are finite and whose score isn't NaN."""
    return (boxes.isfinite().all(1) & ~scores.isnan()).nonzero().squeeze(1)


def by_falling_score(boxes: Tensor, scores: Tensor) -> Tensor:
    """Indices (m,) of the sound candidates by falling score; of equal ones the lower index first."""
    sound = sound_candidates(boxes, scores)
    return sound[scores[sound].argsort(descending=True, stable=True)]


def check_overlap(kind: str, beta: float) -> None:
    """Raise ValueError for an overlap that there isn't, or an exponent not above 0 or without use."""
    if kind not in get_args(NmsOverlap):
        raise ValueError(f"Expected an NMS kind out of {get_args(NmsOverlap)} but got {kind!r}")
    if not beta > 0 or (kind != "diou" and beta != 1):
        raise ValueError(f"Expected a beta above 0, other than 1 with 'diou' alone, but got {beta} with {kind!r}")


def overlap(a: Tensor, b: Tensor, kind: NmsOverlap = "iou", beta: float = 1.0) -> Tensor:
    """IoU (p,) of boxes (p, 4) and (p, 4); for "diou" less (rho2 / c2)^beta (arXiv 1911.08287, eq. 13, has beta 1)."""
    iou = paired_iou(a, b)
    return iou if kind == "iou" else iou - centre_penalty(a, b) ** beta


def close_pairs(boxes: Tensor, labels: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Pairs (p,), (p,) of boxes (n, 4) of one label: all whose IoU is above ``least`` and some others; each pair once,
    the lower index first.

    Such boxes share more than ``least`` of the longer side in x and in y. In order of class and left edge, those that
    may do so in x stand right behind a box; rows are then compared in y with no more columns than they reach.
    """
    order, ends = _sweep(boxes, labels, least - _SLACK)
    vertical = _intervals(boxes.index_select(0, order), 1, least)
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


def crossing_pairs(
    boxes: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor, least: float
) -> tuple[Tensor, Tensor]:
    """Pairs (p,), (p,) of one of the boxes (k, 4) and one of the others (m, 4), as in ``close_pairs``; k is small."""
    close = _share(_intervals(boxes, 0, least), _intervals(others, 0, least))
    close &= _share(_intervals(boxes, 1, least), _intervals(others, 1, least))
    close &= labels[:, None] == other_labels
    return close.nonzero(as_tuple=True)  # type: ignore[return-value]


def _intervals(boxes: Tensor, axis: int, least: float) -> Tensor:
    """Low and high end of boxes (n, 4) along x or y, and the length that a close box must share of it: (3, n)."""
    low, high = boxes[:, axis], boxes[:, axis + 2]
    return torch.stack([low, high, (least - _SLACK) * (high - low)])


def _share(a: Tensor, b: Tensor) -> Tensor:
    """Whether intervals (3, k) and (3, m) share what both need, (k, m)."""
    low, high, needed = a.unsqueeze(2)
    other_low, other_high, other_needed = b
    shared = torch.minimum(high, other_high).sub_(torch.maximum(low, other_low))
    return shared > torch.maximum(needed, other_needed)


def _sweep(boxes: Tensor, labels: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Order (n,) by label and left edge; for each place in it, where those end (n,) that are near enough in x.

    Of two boxes, the left edge of one must lie within the share 1 - ``least`` of the other. Ranks of edges, offset by
    class, are compared in place of coordinates: no class comes near another, and rounding, which keeps the order of
    edges, loses none.
    """
    left = boxes[:, 0].contiguous()
    edges = left.sort().values
    offset = labels.long() * (len(boxes) + 1)
    keys, order = (offset + torch.searchsorted(edges, left)).sort()
    limit = left + (1 - least) * (boxes[:, 2] - left)
    reach = offset + torch.searchsorted(edges, limit, right=True)
    return order, torch.searchsorted(keys, reach.index_select(0, order))
