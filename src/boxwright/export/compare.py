"""Compare two lists of detections of one picture: equal except for what is near a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.boxes import box_iou
from boxwright.models.selection import candidate_pairs
from boxwright.recipes import Recipe
from boxwright.types import Detections

_PIXELS = 0.05  # that boxes may differ by, which votes average


class Tolerance(NamedTuple):
    """Allowed difference of numbers: ``share`` + ``share`` x |number|."""

    share: float

    def of(self, values: Tensor) -> Tensor:
        """Compute the tolerance of each value."""
        return self.share + self.share * values.abs()

    def of_boxes(self, boxes: Tensor) -> Tensor:
        """Compute (..., 1) for all coordinates of boxes (..., 4): that of the largest, since corners are sums."""
        return self.of(boxes.abs().amax(-1, keepdim=True))


class Rules(NamedTuple):
    """The rules that select the candidates to return."""

    recipe: Recipe
    maps: Sequence[int]
    """Anchors of each feature map."""
    min_scores: Sequence[float]
    """The score of each class above which detections are shown."""
    within: Tolerance


class _Candidates(NamedTuple):
    """The candidates (n,) of a picture that go into NMS."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    unsure: Tensor
    """(n,) bool: within the tolerance of the last one that fits."""

    @classmethod
    def of(cls, scores: Tensor, boxes: Tensor, rules: Rules) -> _Candidates:
        """Select the candidates from scores (A, K) and boxes (A, 4) or (A, K, 4)."""
        recipe = rules.recipe
        best, row, label = candidate_pairs(scores, recipe, rules.maps)
        there = best > -torch.inf  # a class that a row can't be of
        best, row, label = best[there], row[there], label[there]
        bounds = torch.tensor(rules.maps).cumsum(0)
        groups = {"image": torch.zeros_like(label), "class": label, "map": torch.bucketize(row, bounds, right=True)}
        group = groups[recipe.candidates_per]
        full = (torch.bincount(group) >= recipe.candidates)[group]
        last = torch.full_like(best, 2).scatter_reduce(0, group, best, "amin")[group]
        own = boxes[row] if boxes.ndim == 2 else boxes[row, label]
        return cls(own, best, label, full & ((best - last).abs() <= rules.within.of(best)))


class Outcome(NamedTuple):
    """The result of a comparison."""

    pairs: int
    """Detections that both have."""
    excused: Counter[str]
    """Detections that only one list has, by the limit that is near."""
    faults: list[str]


def compare(expected: Detections, found: Detections, scores: Tensor, boxes: Tensor, rules: Rules) -> Outcome:
    """Pair the detections of a picture one to one, and find the limit that explains each unpaired one.

    ``scores`` (A, K) and ``boxes`` (A, 4), or (A, K, 4), cut to the picture: what they were chosen from.
    """
    left, right = _unpaired(expected, found, rules.within)
    alone = [(expected, found, row) for row in left] + [(found, expected, row) for row in right]
    outcome = Outcome(len(expected.scores) - len(left), Counter(), [])
    candidates = cache(lambda: _Candidates.of(scores, boxes, rules))  # which are seldom asked for
    for own, other, row in alone:
        limit = _limit(own, other, row, candidates(), rules)
        if limit is None:
            side = "missing" if own is expected else "too much"
            outcome.faults.append(
                f"a detection of class {int(own.labels[row])}, score {own.scores[row]:.4f}, is {side}"
            )
        else:
            outcome.excused[limit] += 1
    return outcome


def _unpaired(a: Detections, b: Detections, within: Tolerance) -> tuple[list[int], list[int]]:
    """Find rows of a and of b without a partner of the same label, score and box."""
    same = a.labels[:, None] == b.labels
    same &= (a.scores[:, None] - b.scores).abs() <= within.of(a.scores)[:, None]
    apart = (a.boxes[:, None] - b.boxes).abs().amax(-1)
    same &= apart <= within.of_boxes(a.boxes).clamp(min=_PIXELS)
    cost: NDArray[np.float32] = torch.where(same, apart, torch.inf).numpy()
    left, right = [], np.ones(len(b.scores), np.bool_)
    for row, own in enumerate(cost):
        partner = int(own.argmin()) if len(own) else 0
        if len(own) == 0 or not np.isfinite(own[partner]):
            left.append(row)
        else:
            right[partner] = False
            cost[:, partner] = np.inf
    return left, np.flatnonzero(right).tolist()


def _limit(own: Detections, other: Detections, row: int, candidates: _Candidates, rules: Rules) -> str | None:
    """Find the limit that is near a detection that only one list has, or near one that decides about it."""
    recipe, min_scores, within = rules.recipe, rules.min_scores, rules.within
    score, label, box = own.scores[row], int(own.labels[row]), own.boxes[row]
    margin = float(within.of(score))
    if abs(float(score) - min_scores[label]) <= margin:
        return "score"
    if len(other.scores) >= recipe.max_detections and float(score) <= float(other.scores.min()) + margin:
        return "count"
    rivals = (candidates.labels == label) | recipe.nms_agnostic
    touching = rivals & (box_iou(box[None], candidates.boxes)[0] > 0)
    alike = (candidates.scores - score).abs() <= margin
    better = rivals & (candidates.scores >= score - margin)
    acting = touching if recipe.vote else touching & better  # a lesser one acts by its vote alone
    if bool((candidates.unsure & (acting | alike)).any()):
        return "candidates"
    first, second = (touching & better).nonzero(), better.nonzero().T
    others = first != second
    iou = box_iou(candidates.boxes[first[:, 0]], candidates.boxes[second[0]])
    if bool((others & ((iou - recipe.nms_threshold).abs() <= within.share)).any()):
        return "IoU"
    scores = candidates.scores
    equal = (scores[first] - scores[second]).abs() <= within.of(scores[first])
    return "order" if bool((others & equal & (iou > recipe.nms_threshold)).any()) else None
