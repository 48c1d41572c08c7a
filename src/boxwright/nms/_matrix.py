"""Greedy suppression of many boxes on a device: all pairs of a label at once, then rounds until nothing changes.

What stays is settled one box after another otherwise, and a device has to wait for its memory at each: 3 ms for the
8,000 candidates of an image, in which all pairs of a batch are compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import paired_iou

_BLOCK = 1 << 25  # pairs compared at a time, 8 bytes each in every temporary
_LARGEST = 1 << 30  # pairs in all, a byte each
_ROUNDS = 4  # between looks at whether anything changed, for each of which is waited


def nms_by_matrix(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor | None:
    """Find the places (m,), by falling score, that greedy suppression leaves of sound boxes (n, 4), label by label.

    A box stays unless a better one that stays overlaps it by more than ``iou``: iterated from "all stay" to the fixed
    point, which is the greedy result (Cluster-NMS, arXiv 2005.03572, section 4). None where the pairs of all labels
    are too many to be held.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    _, group, sizes = labels[order].unique_consecutive(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    longest = int(sizes.max())
    if len(sizes) * longest * longest > _LARGEST:
        return None
    place = torch.arange(len(order), device=boxes.device) - (sizes.cumsum(0) - sizes)[group]
    padded = boxes.new_full((len(sizes), longest, 4), torch.nan)  # which overlaps nothing
    padded[group, place] = boxes[order]
    kept = order[_stays(padded, iou)[group, place]].sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _stays(boxes: Tensor, iou: float) -> Tensor:
    """(N, n) bool of groups (N, n, 4), each by falling score."""
    groups, count, _ = boxes.shape
    place = torch.arange(count, device=boxes.device)
    suppresses = torch.empty(groups, count, count, dtype=torch.bool, device=boxes.device)
    rows = max(1, _BLOCK // (groups * count))
    for start in range(0, count, rows):
        block = slice(start, start + rows)
        overlaps = paired_iou(boxes[:, block].unsqueeze(2), boxes.unsqueeze(1))  # (N, rows, n)
        suppresses[:, block] = (overlaps > iou) & (place[block].unsqueeze(1) < place)
    stays = torch.ones(groups, count, dtype=torch.bool, device=boxes.device)
    while True:
        for _ in range(_ROUNDS):
            before, stays = stays, ~(suppresses & stays.unsqueeze(2)).any(1)
        if torch.equal(before, stays):
            return stays
