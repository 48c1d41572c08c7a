"""Suppression and votes with numpy: what boxwright.nms, held against other libraries, does with torch."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import nms
from boxwright.models.selection import best_pairs, nms_and_topk
from boxwright.recipes import get_recipe
from boxwright.runtime.nms import NmsKind, suppress, vote_boxes
from boxwright.runtime.selection import SelectionRule

KINDS = get_args(NmsKind)


def crowd(seed: int, count: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes about a few places, with unlike scores."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(10, 90, (5, 2))[rng.integers(0, 5, count)] + rng.normal(0, 4, (count, 2))
    half = rng.uniform(5, 15, (count, 2))
    boxes = np.concatenate([centers - half, centers + half], 1).astype(np.float32)
    scores = (rng.permutation(count) + 1).astype(np.float32) / (count + 1)
    return boxes, scores, rng.integers(0, classes, count)


def test_the_kinds_are_those_of_torch() -> None:
    assert get_args(nms.NmsKind) == KINDS
    with pytest.raises(ValueError, match="NMS kind"):
        suppress(*crowd(0, 3), kind="none")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 120), agnostic=st.booleans())
@settings(max_examples=15, deadline=None)
def test_every_kind_is_that_of_torch(kind: NmsKind, seed: int, count: int, agnostic: bool) -> None:
    boxes, scores, labels = crowd(seed, count)
    keep, left = suppress(boxes, scores, labels, 0.4, kind, min_score=0.1, agnostic=agnostic)
    tensors = map(torch.from_numpy, (boxes, scores, labels))
    expected, expected_scores = nms.suppress(*tensors, 0.4, kind, min_score=0.1, agnostic=agnostic)
    np.testing.assert_array_equal(keep, expected.numpy())
    np.testing.assert_allclose(left, expected_scores.numpy(), atol=1e-6)
    first, scores_of_first = suppress(boxes, scores, labels, 0.4, kind, min_score=0.1, agnostic=agnostic, most=5)
    np.testing.assert_array_equal(first, keep[:5])
    np.testing.assert_array_equal(scores_of_first, left[:5])


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_votes_are_those_of_torch(seed: int, count: int) -> None:
    boxes, scores, labels = crowd(seed, count)
    kept, _ = suppress(boxes, scores, labels, 0.4)
    found = vote_boxes(boxes[kept], labels[kept], boxes, scores, labels, 0.05)
    tensors = [torch.from_numpy(each) for each in (boxes[kept], labels[kept], boxes, scores, labels)]
    np.testing.assert_allclose(found, nms.vote_boxes(*tensors, 0.05).numpy(), atol=1e-4)


@pytest.mark.parametrize("candidates_per", ["image", "class", "map"])
@pytest.mark.parametrize("vote", [0.0, 0.05])
def test_selection_is_that_of_torch(candidates_per: str, vote: float) -> None:
    recipe = get_recipe("lite320", candidates=7, candidates_per=candidates_per, vote=vote, max_detections=6)
    rng, maps, size = np.random.default_rng(4), [30, 10], (80, 90)
    boxes, _, _ = crowd(3, 40)
    boxes[5] = np.nan
    scores = rng.uniform(0, 1, (40, 3)).astype(np.float32) ** 2
    best, row, label = best_pairs(torch.from_numpy(scores), 0.2, recipe, maps)
    expected = nms_and_topk(torch.from_numpy(boxes)[row], best, label, size, 0.2, recipe)
    found = SelectionRule.of(recipe.to_dict()).select(scores, boxes, size, 0.2, maps)
    assert 0 < len(found.scores) <= 6
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other.numpy(), atol=1e-4)
