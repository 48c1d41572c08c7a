"""Box voting: suppressed boxes refine the box that stays."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import at_least_float32, box_iou
from boxwright.nms._candidates import is_sound


def vote_boxes(
    kept: Tensor, kept_labels: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, temperature: float = 0.05
) -> Tensor:
    """Replace each kept box by the weighted average of all candidates of its class that overlap it, itself included.

    A candidate's weight is its score times exp(-(1 - IoU)^2 / ``temperature``), and 0 where it does not overlap:
    variance voting (arXiv 1809.08545, section 3.4) with the score in place of the inverse variance.

    Args:
        kept: Boxes (..., m, 4) that NMS kept.
        kept_labels: Their classes (..., m).
        boxes: All candidates (..., n, 4).
        scores: Their scores (..., n).
        labels: Their classes (..., n).
        temperature: Larger values let candidates of lower IoU count more.

    Returns:
        Boxes (..., m, 4).

    Raises:
        ValueError: If ``temperature`` is not above 0.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
        >>> labels = torch.zeros(3, dtype=torch.int64)
        >>> bw.nms.vote_boxes(boxes[:1], labels[:1], boxes, torch.tensor([0.9, 0.8, 0.7]), labels)
        tensor([[ 0.3145,  0.0000, 10.3145, 10.0000]])
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
