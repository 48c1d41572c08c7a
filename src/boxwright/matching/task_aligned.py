"""Task-aligned matching: by what the network predicts (TOOD, Feng et al. 2021, arXiv 2108.07755, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from boxwright._util.devices import is_near
from boxwright.anchors import Anchors
from boxwright.boxes import at_least_float32, box_iou, paired_iou
from boxwright.matching._common import Best, best_of, block_size, matches_by_rule, prepare
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
    """Match each target with the anchors whose predictions suit it best, by score and IoU together.

    Positive are the ``top`` anchors with the highest score(label)^alpha x IoU(predicted box)^beta (section 3.2; ties:
    the earlier anchor) among those whose center is inside the target and whose metric is above 0. An anchor of several
    targets answers for the one that its predicted box overlaps most (ties: the first). All others are negative, or -1
    under an ignored box. targets x anchors are held block by block.

    Args:
        anchors: Anchors of the image, or their boxes (A, 4).
        boxes: Targets (B, G, 4) in the anchors' pixels.
        labels: Classes (B, G) int64, -1 for padding.
        scores: Predicted scores (B, A, K) in 0..1.
        predictions: Predicted boxes (B, A, 4).
        top: Number of positives per target.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
        ignore: Boxes (B, G) bool that are not matched, such as crowds.
        ignore_ioa: Share of an anchor's area inside an ignored box from which on it is ignored.

    Returns:
        Matches (B, A); gt_index and iou, which is the anchor's own, are 0 where not positive.

    Raises:
        ValueError: If shapes do not fit, ``top`` < 1 or an exponent is negative.

    Examples:
        >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 12, 10], [20, 20, 30, 30]])
        >>> boxes, labels = torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[0]])
        >>> scores = torch.tensor([[[0.2], [0.9], [0.9]]])
        >>> predicted = {"scores": scores, "predictions": anchors[None]}
        >>> bw.matching.match_task_aligned(anchors, boxes, labels, **predicted, top=1).state
        tensor([[0, 1, 0]], dtype=torch.int8)
    """
    images, total = len(labels), len(anchors)
    if scores.shape[:2] != (images, total) or scores.ndim != 3 or predictions.shape != (images, total, 4):
        raise ValueError(
            f"Expected scores ({images}, {total}, K) and predictions ({images}, {total}, 4) but got "
            f"{tuple(scores.shape)} and {tuple(predictions.shape)}"
        )
    if top < 1 or alpha < 0 or beta < 0:
        raise ValueError(f"Expected top >= 1 and powers of at least 0 but got {top}, {alpha} and {beta}")
    reference, boxes, real = prepare(anchors, boxes, labels, ignore, scores.shape[2])
    predicted = _Predicted(reference.boxes, at_least_float32(predictions), scores, (top, alpha, beta))
    best = (_sparse if is_near(boxes) else _dense)(predicted, boxes, labels, real)
    return matches_by_rule(best.iou > 0, best.partner, reference, (boxes, labels, ignore), ignore_ioa)


class _Predicted(NamedTuple):
    reference: Tensor
    """(A, 4) the anchors."""
    boxes: Tensor
    """(B, A, 4)"""
    scores: Tensor
    """(B, A, K)"""
    options: tuple[int, float, float]
    """top, alpha and beta."""

    def metric(self, score: Tensor, iou: Tensor) -> Tensor:
        """Compute score^alpha x IoU^beta."""
        _, alpha, beta = self.options
        return score.to(iou.dtype).pow(alpha) * iou.pow(beta)


def _sparse(predicted: _Predicted, boxes: Tensor, labels: Tensor, real: Tensor) -> Best:
    """Find each anchor's target (B, A) from the pairs with the center inside only."""
    total = len(predicted.reference)
    image, target = real.nonzero(as_tuple=True)
    found = [(image[:0], predicted.boxes.new_zeros(0), target[:0])]
    size = block_size(total, boxes.device)
    for start in range(0, len(image), size):
        i, t = image[start : start + size], target[start : start + size]
        row, anchor = _is_inside(predicted.reference, boxes[i, t].unsqueeze(1)).nonzero(as_tuple=True)
        iou = paired_iou(boxes[i, t][row], predicted.boxes[i[row], anchor])
        metric = predicted.metric(predicted.scores[i[row], anchor, labels[i, t][row]], iou)
        count = torch.bincount(row, minlength=len(i))
        place = torch.arange(len(row)) - (count.cumsum(0) - count)[row]  # index of the pair among its target's
        table = metric.new_zeros(len(i), int(count.max()))
        table[row, place] = metric
        kept = highest(table, table > 0, predicted.options[0])[row, place].nonzero().squeeze(1)
        row, anchor = row[kept], anchor[kept]
        found.append((i[row] * total + anchor, iou[kept], t[row]))
    place, iou, target = (torch.cat(parts) for parts in zip(*found, strict=True))
    best = best_of(place, iou, target, len(real) * total)
    return Best(*(side.view(len(real), total) for side in best))


def _is_inside(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Tell whether the centers of anchors (..., 4) are inside boxes (..., 4)."""
    x, y = ((anchors[..., axis] + anchors[..., axis + 2]) / 2 for axis in (0, 1))
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.minimum(torch.minimum(x - x1, x2 - x), torch.minimum(y - y1, y2 - y)) > 0


def _dense(predicted: _Predicted, boxes: Tensor, labels: Tensor, real: Tensor) -> Best:
    """Compute the same from all pairs without reading any value, for devices that would have to be waited for."""
    images, total = predicted.boxes.shape[:2]
    best = Best(predicted.boxes.new_zeros(images, total), labels.new_zeros(images, total))
    planes = predicted.scores.transpose(1, 2)  # (B, K, A)
    size = block_size(images * total, boxes.device)
    for start in range(0, labels.shape[1] if total else 0, size):
        part = slice(start, start + size)
        box, label = boxes[:, part], labels[:, part].clamp(min=0).unsqueeze(-1)
        iou = box_iou(box, predicted.boxes)  # (B, g, A)
        metric = predicted.metric(planes.gather(1, label.expand(iou.shape)), iou)
        able = _is_inside(predicted.reference, box.unsqueeze(2)) & (metric > 0) & real[:, part].unsqueeze(-1)
        chosen = highest(metric.flatten(0, 1), able.flatten(0, 1), predicted.options[0]).view(iou.shape)
        value, target = (iou * chosen).max(dim=1)
        better = value > best.iou  # strictly better: an equal one in a later block has a higher index
        best = Best(torch.where(better, value, best.iou), torch.where(better, start + target, best.partner))
    return best
