"""Suppression that lowers scores instead of dropping boxes."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from boxwright._util.devices import on_cpu
from boxwright.nms._candidates import check_candidates, close_pairs, overlap, sound_candidates

SoftMethod = Literal["linear", "gaussian"]


@torch.no_grad()
def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    method: SoftMethod = "gaussian",
    *,
    iou: float = 0.5,
    sigma: float = 0.5,
    min_score: float = 0.001,
    agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Lower the scores of boxes that overlap a better one, instead of dropping them (Soft-NMS, arXiv 1704.04503).

    The best box is taken, the scores of others of its label decay by their IoU with it, and the best of the rest is
    taken next. The paper's linear decay also applies at the threshold; here an IoU at the threshold counts as below, as
    in every NMS.

    Args:
        boxes: Boxes (n, 4) xyxy.
        scores: Scores (n,).
        labels: Classes (n,).
        method: "linear" multiplies by 1 - IoU where the IoU is above ``iou``; "gaussian" by exp(-IoU^2 / ``sigma``)
            everywhere.
        iou: Threshold in 0..1 of "linear".
        sigma: Width of "gaussian".
        min_score: Boxes at or below this are dropped.
        agnostic: Ignore the labels.

    Returns:
        Indices (m,) and decayed scores (m,), falling.

    Raises:
        ValueError: If the method is unknown, ``sigma`` is not above 0, ``min_score`` is negative, or the threshold or
            a shape is wrong.

    Examples:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
        >>> bw.nms.soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64))
        (tensor([0, 2, 1]), tensor([0.9000, 0.7000, 0.2097]))
    """
    if method not in get_args(SoftMethod):
        raise ValueError(f"Expected a soft NMS method out of {get_args(SoftMethod)} but got {method!r}")
    if not sigma > 0:
        raise ValueError(f"Expected a sigma above 0 but got {sigma}")
    if not min_score >= 0:
        raise ValueError(f"Expected min_score to be at least 0 but got {min_score}")
    check_candidates(boxes, scores, labels, iou)
    given, boxes, scores, labels = sound_candidates(boxes, scores, labels, agnostic)
    first, second = close_pairs(boxes, labels, iou if method == "linear" else 0.0)
    overlaps = overlap(boxes[first], boxes[second])
    decay = torch.where(overlaps > iou, 1 - overlaps, 1) if method == "linear" else torch.exp(-(overlaps**2) / sigma)
    scores, first, second, decay = on_cpu(scores, first, second, decay)
    kept, decayed = _pick(scores, first, second, decay, min_score)
    return given[kept.to(given.device, non_blocking=True)], decayed.to(given.device, non_blocking=True)


def _pick(scores: Tensor, first: Tensor, second: Tensor, decay: Tensor, min_score: float) -> tuple[Tensor, Tensor]:
    """Pick boxes by falling decayed score; taking one of a pair (p,), (p,) multiplies the other's score by ``decay``.

    This goes one box after another, so it runs on the CPU and in cheap calls.
    """
    of, order = torch.cat([first, second]).sort()
    starts = torch.searchsorted(of, torch.arange(len(scores) + 1)).tolist()
    others, decays = torch.cat([second, first])[order].numpy(), decay.repeat(2)[order].numpy()
    left = scores.masked_fill(scores.isnan(), 0).numpy()
    kept, decayed = [], []
    for _ in range(len(left)):
        best = int(left.argmax())
        score = left[best]
        if not score > min_score:
            break
        kept.append(best)
        decayed.append(score)
        row = slice(starts[best], starts[best + 1])
        left[others[row]] *= decays[row]
        left[best] = 0  # taken: stays 0 through every decay
    return torch.tensor(kept, dtype=torch.int64), torch.from_numpy(np.asarray(decayed, left.dtype))
