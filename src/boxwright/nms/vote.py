"""Boxes that are suppressed vote on the one that stays."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import at_least_float32, box_iou
from boxwright.nms._candidates import is_sound


def vote_boxes(
    kept: Tensor, kept_labels: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, temperature: float = 0.05
) -> Tensor:
    """Each kept box as the average of all candidates of its class that overlap it, itself among them.

    kept (..., m, 4) and kept_labels (..., m) of those that NMS left; boxes (..., n, 4), scores (..., n) and labels
    (..., n) of all candidates. Returns (..., m, 4). A candidate weighs its score times exp(-(1 - IoU)^2 /
    ``temperature``), 0 where it doesn't overlap: variance voting (arXiv 1809.08545, section 3.4) with the score in
    place of the inverse variance.
    Raises ValueError for a temperature that isn't above 0.
    """
    if not temperature > 0:
        raise ValueError(f"Expected a temperature above 0 but got {temperature}")
    kept, boxes = at_least_float32(kept), at_least_float32(boxes)
    sound = is_sound(boxes, scores)
    boxes = boxes.masked_fill(~sound.unsqueeze(-1), 0)
    iou = box_iou(kept, boxes)
    counts = (kept_labels.unsqueeze(-1) == labels.unsqueeze(-2)) & (iou > 0) & sound.unsqueeze(-2)
    weights = torch.where(counts, torch.exp(-((1 - iou) ** 2) / temperature) * scores.unsqueeze(-2), 0)
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights @ boxes / total.clamp(min=1e-12), kept)
