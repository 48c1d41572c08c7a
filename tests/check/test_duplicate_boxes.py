"""Which boxes have a twin: the first earlier one with enough overlap, found without comparing all with all."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from boxwright.check.boxes import first_twins


def slowly(boxes: NDArray[np.float64], threshold: float) -> list[tuple[int, int]]:
    """All with all."""
    low, high = (op(boxes[:, None, k], boxes[None, :, k]) for op, k in ((np.maximum, [0, 1]), (np.minimum, [2, 3])))
    shared = np.clip(high - low, 0, None).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    alike = np.triu(shared / (area[:, None] + area - shared) >= threshold, 1)
    return [(int(alike[:, j].argmax()), j) for j in np.flatnonzero(alike.any(0)).tolist()]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200), st.sampled_from([0.5, 0.9]), st.integers(1, 12))
def test_twins_are_those_of_the_slow_search(seed: int, count: int, threshold: float, spots: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 40, (spots, 2))[rng.integers(0, spots, count)] + rng.choice([0, 0.25, 1], (count, 2))
    boxes = np.concatenate([low, low + rng.integers(4, 9, (count, 2)) + rng.choice([0, 0.5], (count, 2))], 1)
    first, second, iou = first_twins(boxes.astype(np.float64), threshold)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == slowly(boxes, threshold)
    assert (iou >= threshold).all()


@pytest.mark.parametrize("kind", ["spread", "column", "copies", "jittered"])
def test_twenty_thousand_boxes_in_an_image(kind: str) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 4000, (20_000, 2))
    if kind == "column":
        low[:, 0] = 7
    elif kind == "copies":
        low[:] = 7
    elif kind == "jittered":
        low = 7 + low / 40_000
    boxes = np.concatenate([low, low + 20], 1)
    tracemalloc.start()
    start = time.process_time()
    _, second, _ = first_twins(boxes, 0.9)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 200e6
    if kind in ("copies", "jittered"):
        assert len(second) == 19_999
