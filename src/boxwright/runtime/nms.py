"""Non-maximum suppression and box voting with numpy: what ``boxwright.nms`` does with torch, for few boxes.

Boxes (n, 4), scores (n,) and labels (n,) of candidates, n = 0 included, are sound numbers.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
NmsKind = Literal["iou", "diou", "soft_linear", "soft_gaussian", "cluster_iou", "cluster_soft"]

_AT_A_TIME = 32  # boxes that greedy NMS settles: enough to make calls cheap, few enough to skip most pairs
_SIGMA, _CLUSTER_SIGMA = 0.5, 0.2  # of soft_nms (arXiv 1704.04503) and cluster_soft_nms (arXiv 2005.03572)


def suppress(
    boxes: Floats,
    scores: Floats,
    labels: Ints,
    iou: float = 0.5,
    kind: NmsKind = "iou",
    *,
    min_score: float = 0.001,
    agnostic: bool = False,
    most: int | None = None,
) -> tuple[Ints, Floats]:
    """Find indices (m,) and scores (m,), falling, of what one kind of NMS leaves: the first ``most``, None for all.

    The kinds, and their options, are those of ``boxwright.nms.suppress``. Raises ValueError for another kind.
    """
    if kind not in get_args(NmsKind):
        raise ValueError(f"Expected an NMS kind out of {get_args(NmsKind)} but got {kind!r}")
    most = len(scores) if most is None else most
    labels = np.zeros_like(labels) if agnostic else labels
    if kind in ("soft_linear", "soft_gaussian"):
        return _soft(boxes, scores, labels, iou if kind == "soft_linear" else None, min_score, most)
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    if kind == "cluster_soft":
        place, left = _cluster_soft(boxes, scores, labels, iou, min_score)
        return order[place[:most]], left[:most]
    if kind == "iou":
        boxes = boxes.astype(np.float64)  # so that no coordinate is rounded
    kept = _greedy(boxes, labels, iou, kind == "diou", most)
    return order[kept], scores[kept]


def overlaps(box: NDArray[Any], boxes: NDArray[Any], *, diou: bool = False) -> NDArray[Any]:
    """IoU of boxes (..., 4) that broadcast; for ``diou`` less rho2 / c2 (arXiv 1911.08287, eq. 13). 0 without area.

    It is sooner done where each coordinate of ``boxes`` lies together, as in Fortran's order.
    """
    x1, y1, x2, y2 = (box[..., place] for place in range(4))
    left, top, right, bottom = (boxes[..., place] for place in range(4))
    shared = np.maximum(np.minimum(x2, right) - np.maximum(x1, left), 0)
    shared *= np.maximum(np.minimum(y2, bottom) - np.maximum(y1, top), 0)
    iou = _ratio(shared, (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared)
    if not diou:
        return iou
    diagonal = (np.maximum(x2, right) - np.minimum(x1, left)) ** 2 + (np.maximum(y2, bottom) - np.minimum(y1, top)) ** 2
    iou -= _ratio(((x1 + x2 - left - right) / 2) ** 2 + ((y1 + y2 - top - bottom) / 2) ** 2, diagonal)
    return iou


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """Divide a part by its whole, 0 by 0 as 0: much sooner than ``np.divide`` with ``where``."""
    ratio: NDArray[Any] = part / np.maximum(whole, np.finfo(whole.dtype).tiny)
    return ratio


def _greedy(boxes: NDArray[Any], labels: Ints, iou: float, diou: bool, most: int) -> Ints:
    """Return the first places (m,) that greedy NMS keeps, of candidates by falling score.

    The best ``_AT_A_TIME`` of those left are settled, then suppress the rest.
    """
    left, kept = np.arange(len(boxes)), np.zeros(0, np.int64)
    while len(left) and len(kept) < most:
        best, others = left[:_AT_A_TIME], np.asfortranarray(boxes[left])
        close = overlaps(boxes[best][:, None], others, diou=diou) > iou
        close &= labels[best][:, None] == labels[left]
        stays = np.ones(len(best), np.bool_)
        for place in range(len(best)):
            if stays[place]:
                stays[place + 1 :] &= ~close[place, place + 1 : len(best)]
        kept = np.append(kept, best[stays])
        left = left[len(best) :][~close[stays, len(best) :].any(0)]
    return kept[:most]


def _soft(
    boxes: Floats, scores: Floats, labels: Ints, iou: float | None, min_score: float, most: int
) -> tuple[Ints, Floats]:
    """Take the best, let the others of its label decay by their IoU with it, and look for the best again.

    Soft-NMS (arXiv 1704.04503): by 1 - IoU above ``iou``, or by a Gaussian where that is None.
    """
    left = scores.copy()
    kept: list[int] = []
    decayed: list[float] = []
    while len(kept) < min(most, len(left)):
        best = int(left.argmax())
        score = left[best]
        if not score > min_score:
            break
        kept.append(best)
        decayed.append(score)
        shared = overlaps(boxes[best], boxes)
        decay = np.exp(-(shared**2) / np.float32(_SIGMA)) if iou is None else np.where(shared > iou, 1 - shared, 1)
        left *= np.where(labels == labels[best], decay, 1).astype(left.dtype)
        left[best] = 0  # taken: it stays at 0 through every decay
    return np.array(kept, np.int64), np.array(decayed, scores.dtype)


def _cluster_soft(boxes: Floats, scores: Floats, labels: Ints, iou: float, min_score: float) -> tuple[Ints, Floats]:
    """Lower each score by exp(-IoU^2 / sigma) for each better box that stays; places, and scores, by falling score."""
    stays, penalty = np.ones(len(boxes), np.bool_), np.zeros_like(scores)
    for best in range(len(boxes)):
        if stays[best]:
            worse = best + 1 + np.flatnonzero(labels[best + 1 :] == labels[best])
            shared = overlaps(boxes[best], boxes[worse])
            stays[worse[shared > iou]] = False
            penalty[worse] += shared**2 / np.float32(_CLUSTER_SIGMA)
    rescored = scores * np.exp(-penalty)
    order = np.argsort(-rescored, kind="stable")
    order = order[rescored[order] > min_score]
    return order, rescored[order]


def vote_boxes(
    kept: Floats, kept_labels: Ints, boxes: Floats, scores: Floats, labels: Ints, temperature: float
) -> Floats:
    """Average for each kept box (m, 4) all candidates of its class that overlap it, itself among them: (m, 4).

    A candidate weighs its score times exp(-(1 - IoU)^2 / ``temperature``), as in ``boxwright.nms.vote_boxes``.
    """
    iou = overlaps(kept[:, None], np.asfortranarray(boxes))
    counts = (kept_labels[:, None] == labels) & (iou > 0)
    weights = np.exp(-((1 - iou) ** 2) / np.float32(temperature)) * scores * counts
    total = weights.sum(-1, keepdims=True)
    voted: Floats = np.where(total > 0, weights @ boxes / np.maximum(total, np.float32(1e-12)), kept)
    return voted
