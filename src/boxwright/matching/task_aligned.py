"""Task-aligned matching: by what the network predicts (TOOD, Feng et al. 2021, arXiv 2108.07755, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.anchors import Anchors
from boxwright.boxes import at_least_float32, box_iou
from boxwright.matching._common import matches_by_rule, prepare_anchors, prepare_targets
from boxwright.matching._overlaps import BLOCK_ELEMENTS, best_of
from boxwright.parts import matcher
from boxwright.ranking import highest
from boxwright.types import Matches


@matcher(needs=("scores", "predictions"))
@torch.no_grad()
def match_task_aligned(
    anchors: Anchors | Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    scores: Tensor,
    predictions: Tensor,
    top: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
    ignore: Tensor | None = None,
    ignore_ioa: float = 0.5,
) -> Matches:
    """Match each target with the anchors whose predictions are best for it, by score and by IoU together.

    boxes (B, G, 4) in the anchors' pixels, labels (B, G) with -1 for padding, scores (B, A, K) in 0..1 and predictions
    (B, A, 4) boxes of the network, ignore (B, G) bool. The ``top`` anchors of the highest score(label)^alpha x
    IoU(predicted box)^beta (section 3.2; ties: the earlier anchor) are positive, among those whose centre is inside the
    target and whose metric is above 0. An anchor of several targets answers for the one that its predicted box overlaps
    most (ties: the first). All else is negative, or -1 under an ignored box (intersection / anchor area >=
    ``ignore_ioa``). gt_index and iou, which is the anchor's own, are 0 where not positive.

    Held block by block, targets x anchors at a time. Raises ValueError for other shapes, ``top`` < 1 and negative
    powers.
    """
    reference = prepare_anchors(anchors)
    images, total = len(labels), len(reference)
    if scores.shape[:2] != (images, total) or scores.ndim != 3 or predictions.shape != (images, total, 4):
        raise ValueError(
            f"Expected scores ({images}, {total}, K) and predictions ({images}, {total}, 4) but got "
            f"{tuple(scores.shape)} and {tuple(predictions.shape)}"
        )
    if top < 1 or alpha < 0 or beta < 0:
        raise ValueError(f"Expected top >= 1 and powers of at least 0 but got {top}, {alpha} and {beta}")
    boxes, real = prepare_targets(boxes, labels, ignore, scores.shape[2])
    predictions = at_least_float32(predictions)
    image, target = real.nonzero(as_tuple=True)
    centres = (reference[:, :2] + reference[:, 2:]) / 2
    found = []
    size = max(1, BLOCK_ELEMENTS // max(total, 1))
    for start in range(0, len(image), size):
        i, t = image[start : start + size], target[start : start + size]
        box = boxes[i, t].unsqueeze(1)
        iou = box_iou(box, predictions[i]).squeeze(1)
        metric = scores[i, :, labels[i, t]].to(iou.dtype).pow(alpha) * iou.pow(beta)
        inside = ((centres > box[..., :2]) & (centres < box[..., 2:])).all(-1)
        row, anchor = highest(metric, inside & (metric > 0), top).nonzero(as_tuple=True)
        found.append((i[row] * total + anchor, iou[row, anchor], t[row]))
    empty = (image[:0], boxes.new_zeros(0), target[:0])
    place, iou, target = (torch.cat(parts) for parts in zip(empty, *found, strict=True))
    best = best_of(place, iou, target, images * total)
    positive, gt_index = (best.iou > 0).view(images, total), best.partner.view(images, total)
    return matches_by_rule(positive, gt_index, reference, (boxes, labels, ignore), ignore_ioa)
