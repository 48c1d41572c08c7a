"""From scores and boxes to detections: candidates, NMS, vote, and the cut at each class's score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from boxwright.boxes import clip_boxes
from boxwright.nms import NmsKind, suppress, vote_boxes
from boxwright.recipes import Recipe
from boxwright.types import Detections

EVALUATION_SCORE = 0.001
"""Lowest score that counts in evaluation: average precision needs the whole curve. Boxes from it up vote."""


def class_scores(logits: Tensor, softmax: bool) -> Tensor:
    """(..., K) in 0..1, float32; ``softmax``: of logits whose last is the background."""
    return logits.float().softmax(-1)[..., :-1] if softmax else logits.float().sigmoid()


def limits(shown: Tensor | None, size: tuple[int, int], images: int) -> list[tuple[int, int]]:
    """The size (H, W) to which the boxes of each image are cut: what is ``shown`` (B, 2) of inputs of ``size``."""
    return [size] * images if shown is None else [(rows, columns) for rows, columns in shown.tolist()]


def best_pairs(scores: Tensor, least: float, recipe: Recipe, maps: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, rows and labels (n,) of the pairs of a row and a class that go into NMS.

    Those ``candidate_pairs`` of scores (A, K) that are above ``least``, and where boxes vote all that evaluation sees.
    """
    least = least_vote(least, recipe)
    best, row, label = candidate_pairs(scores, recipe, maps)
    above = (best > least).nonzero().squeeze(1)
    return best[above], row[above], label[above]


def least_vote(least: float, recipe: Recipe) -> float:
    """The score above which candidates count where detections are shown above ``least``: some may only vote."""
    return min(least, EVALUATION_SCORE) if recipe.vote else least


def candidate_pairs(scores: Tensor, recipe: Recipe, maps: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, rows and labels (..., n) of the best pairs of a row and a class.

    scores (..., A, K), of which the recipe takes the best of the image, of each class of it, or of each of the
    ``maps``, which have so many rows.
    """
    rows, columns = scores.shape[-2:]
    if recipe.candidates_per == "class":
        best, row = scores.topk(torch.sym_min(recipe.candidates, rows), dim=-2)
        label = torch.arange(columns, device=row.device).expand_as(row)
        return best.flatten(-2), row.flatten(-2), label.flatten(-2)
    best, flat = best_of_maps(scores, recipe.candidates, maps if recipe.candidates_per == "map" else [rows])
    return best, flat // columns, flat % columns


def best_of_maps(scores: Tensor, count: int, maps: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The ``count`` highest (..., n) of the scores (..., A, K) of each of the ``maps``, which have so many rows, and
    where these lie in the flattened (A x K) scores."""
    start, values, places = 0, [], []
    for part in torch.split(scores, list(maps), dim=-2):
        flat = part.flatten(-2)
        top = flat.topk(torch.sym_min(count, flat.shape[-1]))
        values.append(top.values)
        places.append(start + top.indices)
        start += flat.shape[-1]
    return torch.cat(values, -1), torch.cat(places, -1)


def keep_best(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    least: float,
    recipe: Recipe,
    nms: NmsKind | None = None,
) -> Detections:
    """What the recipe's NMS, or ``nms``, leaves of an image's candidates (n, 4), (n,), (n,), cut to ``size`` (H, W).

    Those up to ``least`` only vote: whatever it is, a box is where evaluation saw it.
    """
    boxes = clip_boxes(boxes, size)
    above = (scores > least).nonzero().squeeze(1)
    keep, left = suppress(
        boxes[above],
        scores[above],
        labels[above],
        recipe.nms_threshold,
        nms or recipe.nms,
        least_score=least,
        agnostic=recipe.nms_agnostic,
    )
    keep, left = above[keep[: recipe.max_detections]], left[: recipe.max_detections]
    found = boxes[keep]
    if recipe.vote:
        found = vote_boxes(found, labels[keep], boxes, scores, labels, recipe.vote)
    return Detections(found, left, labels[keep])


def above_own(found: Detections, least: Sequence[float]) -> Detections:
    """The detections above the score (K,) of their class.

    They are cut last, so that nothing else is found than with one low score: within a class a lesser box never acts on
    a better one, but among all classes one below its own score may have suppressed another.
    """
    kept = found.scores > torch.tensor(least, device=found.scores.device)[found.labels]
    return Detections(*(part[kept] for part in found))
