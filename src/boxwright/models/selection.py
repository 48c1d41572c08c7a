"""From scores and boxes to detections: candidates, NMS, box voting, and the limit of each class's score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from boxwright.boxes import clip_boxes
from boxwright.nms import NmsKind, suppress, vote_boxes
from boxwright.recipes import Recipe
from boxwright.types import Detections

EVALUATION_SCORE = 0.001
"""Lowest score that counts in evaluation: average precision needs the whole curve. Boxes from this score on vote."""


def class_scores(logits: Tensor, softmax: bool) -> Tensor:
    """Compute scores (..., K) in 0..1, float32; with ``softmax`` the last logit is the background."""
    return logits.float().softmax(-1)[..., :-1] if softmax else logits.float().sigmoid()


def limits(valid_size: Tensor | None, size: tuple[int, int], images: int) -> list[tuple[int, int]]:
    """Return the size (H, W) to which each image's boxes are clipped: the part ``valid_size`` (B, 2) of ``size``."""
    return [size] * images if valid_size is None else [(rows, columns) for rows, columns in valid_size.tolist()]


def best_pairs(scores: Tensor, min_score: float, recipe: Recipe, maps: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Select scores, rows and labels (n,) of the row-class pairs that go into NMS.

    These are the ``candidate_pairs`` of scores (A, K) above ``min_score``; if boxes vote, all that evaluation uses.
    """
    min_score = min_vote_score(min_score, recipe)
    best, row, label = candidate_pairs(scores, recipe, maps)
    above = (best > min_score).nonzero().squeeze(1)
    return best[above], row[above], label[above]


def min_vote_score(min_score: float, recipe: Recipe) -> float:
    """Return the score above which candidates count: with voting, also some below ``min_score``, which only vote."""
    return min(min_score, EVALUATION_SCORE) if recipe.vote else min_score


def candidate_pairs(scores: Tensor, recipe: Recipe, maps: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Select scores, rows and labels (..., n) of the best row-class pairs.

    scores are (..., A, K); the recipe takes the best of the image, of each of its classes, or of each of the ``maps``,
    which have this many rows.
    """
    rows, columns = scores.shape[-2:]
    if recipe.candidates_per == "class":
        best, row = scores.topk(torch.sym_min(recipe.candidates, rows), dim=-2)
        label = torch.arange(columns, device=row.device).expand_as(row)
        return best.flatten(-2), row.flatten(-2), label.flatten(-2)
    best, flat = best_of_maps(scores, recipe.candidates, maps if recipe.candidates_per == "map" else [rows])
    return best, flat // columns, flat % columns


def best_of_maps(scores: Tensor, count: int, maps: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Find the ``count`` highest scores (..., n) of each of the ``maps``, and their indices in the flattened (A x K).

    scores are (..., A, K); ``maps`` are numbers of rows.
    """
    start, values, places = 0, [], []
    for part in torch.split(scores, list(maps), dim=-2):
        flat = part.flatten(-2)
        top = flat.topk(torch.sym_min(count, flat.shape[-1]))
        values.append(top.values)
        places.append(start + top.indices)
        start += flat.shape[-1]
    return torch.cat(values, -1), torch.cat(places, -1)


def nms_and_topk(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    min_score: float,
    recipe: Recipe,
    nms: NmsKind | None = None,
) -> Detections:
    """Run NMS on one image's candidates (n, 4), (n,), (n,) and return at most `max_detections`, clipped to ``size``.

    ``nms`` replaces the recipe's kind. Candidates at or below ``min_score`` only vote: no box depends on it.
    """
    boxes = clip_boxes(boxes, size)
    above = (scores > min_score).nonzero().squeeze(1)
    keep, left = suppress(
        boxes[above],
        scores[above],
        labels[above],
        recipe.nms_threshold,
        nms or recipe.nms,
        min_score=min_score,
        agnostic=recipe.nms_agnostic,
    )
    keep, left = above[keep[: recipe.max_detections]], left[: recipe.max_detections]
    found = boxes[keep]
    if recipe.vote:
        found = vote_boxes(found, labels[keep], boxes, scores, labels, recipe.vote)
    return Detections(found, left, labels[keep])


def above_own(found: Detections, min_scores: Sequence[float]) -> Detections:
    """Keep the detections above the score (K,) of their class.

    This comes last, so that the detections are those found with one low score: within a class a lower box never acts on
    a better one, but across classes one below its own limit may have suppressed another.
    """
    kept = found.scores > torch.tensor(min_scores, device=found.scores.device)[found.labels]
    return Detections(*(part[kept] for part in found))
