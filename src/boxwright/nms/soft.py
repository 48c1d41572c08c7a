"""Suppression that lowers scores instead of dropping boxes."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.boxes import at_least_float32
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
    least_score: float = 0.001,
    agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Indices (m,) and decayed scores (m,), falling, of the boxes whose decayed score is above ``least_score``.

    Soft-NMS (arXiv 1704.04503): the best box is taken, the others of its label decay by their IoU with it, and the
    best is looked for again. "linear": by 1 - IoU where the IoU is above ``iou``; "gaussian": by
    exp(-IoU^2 / ``sigma``), whatever ``iou``. The paper decays linearly at the threshold too; here it counts as below,
    as in every NMS. Raises ValueError for another method, a sigma not above 0, a negative least score, a threshold or
    shapes.
    """
    if method not in get_args(SoftMethod):
        raise ValueError(f"Expected a soft NMS method out of {get_args(SoftMethod)} but got {method!r}")
    if not sigma > 0:
        raise ValueError(f"Expected a sigma above 0 but got {sigma}")
    if not least_score >= 0:
        raise ValueError(f"Expected a least score of at least 0 but got {least_score}")
    check_candidates(boxes, scores, labels, iou)
    sound = sound_candidates(boxes, scores)
    boxes, scores, labels = at_least_float32(boxes[sound]), at_least_float32(scores[sound]), labels[sound]
    first, second = close_pairs(
        boxes, torch.zeros_like(labels) if agnostic else labels, iou if method == "linear" else 0.0
    )
    overlaps = overlap(boxes[first], boxes[second])
    decay = torch.where(overlaps > iou, 1 - overlaps, 1) if method == "linear" else torch.exp(-(overlaps**2) / sigma)
    kept, decayed = _pick(scores, torch.cat([first, second]), torch.cat([second, first]), decay.repeat(2), least_score)
    return sound[torch.from_numpy(kept).to(scores.device)], torch.from_numpy(decayed).to(scores)


def _pick(
    scores: Tensor, of: Tensor, other: Tensor, decay: Tensor, least_score: float
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Boxes by falling decayed score, and these scores, where taking ``of`` (p,) multiplies that of ``other`` (p,).

    One box after another, so on the CPU, in calls as cheap as there are.
    """
    of, order = of.sort()
    starts = torch.searchsorted(of, torch.arange(len(scores) + 1, device=of.device)).tolist()
    others, decays = other[order].cpu().numpy(), decay[order].cpu().numpy()
    left = scores.detach().cpu().numpy().copy()
    kept, decayed = [], []
    for _ in range(len(left)):
        best = int(left.argmax())
        score = left[best]
        if not score > least_score:
            break
        kept.append(best)
        decayed.append(score)
        row = slice(starts[best], starts[best + 1])
        left[others[row]] *= decays[row]
        left[best] = 0  # taken: it stays at 0 through every decay
    return np.asarray(kept, np.int64), np.asarray(decayed, left.dtype)
