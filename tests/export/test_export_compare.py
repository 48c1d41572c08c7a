"""Detections of a file and of a detector, paired one to one; what a limit explains is excused, all else is a fault."""

from __future__ import annotations

import pytest
import torch

from boxwright.export.compare import Rules, Tolerance, compare
from boxwright.recipes import Recipe, get_recipe
from boxwright.types import Detections

WITHIN = Tolerance(1e-4)
FAR = ((0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 30.0), (40.0, 40.0, 50.0, 50.0))
HALF_OVER = ((0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0))  # IoU .5


def recipe(**options: object) -> Recipe:
    return get_recipe("lite320", classes=("a", "b"), nms_threshold=0.5, vote=0.0, **options)


def detections(boxes: object, scores: object, labels: object = 0) -> Detections:
    values = torch.tensor(scores)
    named = torch.full_like(values, labels, dtype=torch.int64) if isinstance(labels, int) else torch.tensor(labels)
    return Detections(torch.tensor(boxes).reshape(-1, 4), values, named)


def outcome(expected: Detections, found: Detections, least: float = 0.3, **options: object):
    """Of class 0 alone; all that was expected were candidates."""
    scores = torch.zeros(len(expected.scores), 2)
    scores[:, 0] = expected.scores
    rules = Rules(recipe(**options), [len(scores)], (least, least), WITHIN)
    return compare(expected, found, scores, expected.boxes, rules)


def test_the_order_is_no_difference() -> None:
    a = detections(FAR, [0.9, 0.8, 0.7])
    b = Detections(*(part.flip(0) for part in a))
    assert outcome(a, b) == (3, {}, [])


@pytest.mark.parametrize(
    ("boxes", "scores", "labels"),
    [
        (FAR[:2], [0.9, 0.8], 0),
        ((*FAR, FAR[0]), [0.9, 0.8, 0.7, 0.65], 0),
        (FAR, [0.9, 0.8, 0.69], 0),
        (FAR, [0.9, 0.8, 0.7], [0, 0, 1]),
        ((*FAR[:2], (40.0, 40.0, 50.0, 50.1)), [0.9, 0.8, 0.7], 0),
        (FAR[:0], [], 0),
    ],
    ids=["missing", "twice", "score", "label", "box", "none"],
)
def test_a_difference_is_a_fault(boxes: object, scores: list[float], labels: object) -> None:
    found = outcome(detections(FAR, [0.9, 0.8, 0.7]), detections(boxes, scores, labels))
    assert found.faults
    assert not found.excused


def test_rounding_is_no_difference() -> None:
    moved = torch.tensor(FAR) + 0.04
    assert (
        outcome(
            detections(FAR, [0.9, 0.8, 0.7]),
            Detections(moved, torch.tensor([0.90005, 0.8, 0.7]), torch.zeros(3).long()),
        ).pairs
        == 3
    )


def test_at_the_lowest_score() -> None:
    found = outcome(detections(FAR, [0.9, 0.8, 0.30005]), detections(FAR[:2], [0.9, 0.8]))
    assert found == (2, {"score": 1}, [])


def test_at_the_last_place() -> None:
    a, b = detections(FAR[:2], [0.9, 0.80005]), detections((FAR[0], FAR[2]), [0.9, 0.8])
    assert outcome(a, b, max_detections=2) == (1, {"count": 2}, [])
    assert len(outcome(a, b, max_detections=3).faults) == 2


def test_at_the_overlap_that_suppresses() -> None:
    both, one = detections(HALF_OVER, [0.9, 0.8]), detections(HALF_OVER[:1], [0.9])
    assert outcome(both, one) == (1, {"IoU": 1}, [])
    assert len(outcome(both, one, least=0.3).faults) == 0
    apart = detections((HALF_OVER[0], (0.0, 0.0, 10.0, 4.9)), [0.9, 0.8])
    assert len(outcome(apart, one).faults) == 1


def test_at_an_equal_score() -> None:
    """Of two that suppress each other either may stay."""
    near = ((0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 9.0))
    scores = torch.tensor([[0.9, 0.0], [0.89995, 0.0]])
    rules = Rules(recipe(), [2], (0.3, 0.3), WITHIN)
    first, second = detections(near[:1], [0.9]), detections(near[1:], [0.89995])
    assert compare(first, second, scores, torch.tensor(near), rules) == (0, {"order": 2}, [])
    scores[1, 0] = 0.85
    second = detections(near[1:], [0.85])
    assert len(compare(first, second, scores, torch.tensor(near), rules).faults) == 2


@pytest.mark.parametrize("per", ["image", "class", "map"])
def test_at_the_last_candidate(per: str) -> None:
    """One that there is room for only just may be left out, and so take no part in a vote."""
    a, b = detections(FAR, [0.9, 0.8, 0.7]), detections(FAR[:2], [0.9, 0.8])
    assert outcome(a, b, candidates=3, candidates_per=per) == (2, {"candidates": 1}, [])
    assert len(outcome(a, b, candidates=4, candidates_per=per).faults) == 1
