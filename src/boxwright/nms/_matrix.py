"""Greedy suppression of many boxes on a device: all pairs of a label at once, then rounds until nothing changes.

Deciding one box after another would wait for the device's memory at each: 3 ms for the 8,000 candidates of an image, in
which all pairs of a batch can be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import paired_iou

_BLOCK = 1 << 25  # pairs compared at a time, 8 bytes each in every temporary
_LARGEST = 1 << 30  # pairs in total, one byte each
_ROUNDS = 4  # rounds between two checks for changes, each of which waits for the device


def nms_by_matrix(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor | None:
    """Find the indices (m,), by falling score, of sound boxes (n, 4) that greedy suppression keeps, label by label.

    A box stays unless a better box that stays overlaps it by more than ``iou``. Starting from "all stay", this rule is
    iterated to its fixed point, which is the greedy result (Cluster-NMS, arXiv 2005.03572, section 4). Returns None
    where the pairs of all labels need too much memory.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    _, group, sizes = labels[order].unique_consecutive(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    longest = int(sizes.max())
    if len(sizes) * longest * longest > _LARGEST:
        return None
    place = torch.arange(len(order), device=boxes.device) - (sizes.cumsum(0) - sizes)[group]
    padded = boxes.new_full((len(sizes), longest, 4), torch.nan)  # NaN overlaps nothing
    padded[group, place] = boxes[order]
    kept = order[_stays(padded, iou)[group, place]].sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _stays(boxes: Tensor, iou: float) -> Tensor:
    """Tell which boxes of groups (N, n, 4), each by falling score, stay: (N, n) bool."""
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
