"""What matching does where a look at a value would wait: no shape depends on one, and the results are the CPU's.

Fake tensors take CUDA's way without a GPU, and raise where a value is asked for. The same way runs on the CPU where
``is_near`` is patched.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from boxwright import anchors as named
from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.matching import (
    _common,
    best_anchors,
    match_atss,
    match_iou,
    match_points,
    match_quality,
    match_ssd_tf,
    match_task_aligned,
)
from boxwright.matching import iou as iou_rules

needs_fakes = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7), reason="torch 2.6 fakes a GPU only where there is one"
)
RULES = ["bipartite", "ties", "last", None]
GRIDS = {
    "ssd300": make_anchors(named.SSD300, 300),
    "retinanet": make_anchors(named.RETINANET, 320),
    "lite320": make_anchors(AnchorSpec.squares(), 320),
}
SMALL = {
    "ssd": make_anchors(AnchorSpec.ssd((30, 60, 111), (8, 16), ((2,), (2, 3))), 96),
    "retinanet": make_anchors(named.RETINANET, 64),
    "squares": make_anchors(AnchorSpec.squares((8, 16), 2.0), 96),
}


def quality_of(anchors, boxes, labels, *, force, ignore):
    """A matrix with many ties, and without any overlap for some targets."""
    generator = torch.Generator().manual_seed(len(anchors))
    matrix = (torch.rand(*labels.shape, len(anchors), generator=generator) * 6).floor() / 8
    matrix = matrix * (torch.rand(*labels.shape, 1, generator=generator) < 0.8)
    return match_quality(matrix.to(boxes.device), labels.masked_fill(ignore, -1), force=force, positive=0.6)


def predicted(anchors, boxes, labels, *, ignore, top=13):
    generator = torch.Generator().manual_seed(len(anchors))
    scores = (torch.rand(len(labels), len(anchors), 3, generator=generator) * 4).round() / 4
    noise = (torch.randn(len(labels), len(anchors), 4, generator=generator) * 2).round()
    predictions = anchors.boxes + noise.to(boxes.device)
    options = {"scores": scores.to(boxes.device), "predictions": predictions, "top": top}
    return match_task_aligned(anchors, boxes, labels, ignore=ignore, **options)


CALLS = {
    **{f"iou {force}": partial(match_iou, force=force) for force in RULES},
    "iou, strict, with a band": partial(match_iou, positive=0.6, negative=0.3, strict=True, force="ties"),
    "iou from 0": partial(match_iou, positive=0.0, negative=0.0),
    "ssd_tf": match_ssd_tf,
    "ssd_tf, ignoring": partial(match_ssd_tf, no_annotation="ignore"),
    "best anchors": lambda anchors, *targets, ignore: best_anchors(anchors, *targets, ignore),
    "atss": match_atss,
    "points": match_points,
    "points in a radius": partial(match_points, radius=1.5, reach=2.0),
    "task aligned": predicted,
    "task aligned, one": partial(predicted, top=1),
    **{f"quality {force}": partial(quality_of, force=force) for force in RULES},
}


def as_fake(anchors: Anchors) -> Anchors:
    levels = tuple(replace(level, shapes=torch.empty(level.shapes.shape, device="cuda")) for level in anchors.levels)
    return replace(anchors, boxes=torch.empty(anchors.boxes.shape, device="cuda"), levels=levels)


@needs_fakes
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_waits_for_a_device(call, grid):
    with FakeTensorMode():
        boxes = torch.empty(3, 5, 4, device="cuda")
        labels = torch.empty(3, 5, dtype=torch.int64, device="cuda")
        ignore = torch.empty(3, 5, dtype=torch.bool, device="cuda")
        found = CALLS[call](as_fake(GRIDS[grid]), boxes, labels, ignore=ignore)
    assert {field.device.type for field in found} == {"cuda"}
    assert found[0].shape == ((3, 5) if call == "best anchors" else (3, len(GRIDS[grid])))


@needs_fakes
def test_a_fake_tensor_notices_a_wait():
    with FakeTensorMode():
        mask = torch.empty(3, 5, dtype=torch.bool, device="cuda")
        with pytest.raises(RuntimeError):
            mask.nonzero()
        with pytest.raises(RuntimeError):
            bool(mask.any())


def far_away(patch: pytest.MonkeyPatch) -> None:
    """Let no value be looked at, as on a device."""
    files = ("_common", "iou", "points", "task_aligned")
    for name in (*(f"matching.{file}" for file in files), "_util.checks", "anchors"):
        patch.setattr(f"boxwright.{name}.is_near", lambda _: False)


@settings(deadline=None, max_examples=12)
@given(
    grid=st.sampled_from(sorted(SMALL)),
    shape=st.sampled_from([(1, 1), (2, 3), (3, 12), (1, 30), (2, 0), (0, 2)]),
    step=st.sampled_from([1e-3, 8.0, 16.0]),  # the coarser, the more ties
    outside=st.sampled_from([0.0, 0.5]),
    block=st.sampled_from([1 << 26, 700]),
    seed=st.integers(0, 10**6),
)
@pytest.mark.parametrize("call", CALLS)
def test_results_are_those_of_the_cpu(call, grid, shape, step, outside, block, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(*shape, 2, generator=generator) * 80
    sides = torch.exp(torch.rand(*shape, 2, generator=generator) * 4.5)
    corners, sides = (corners / step).round() * step, (sides / step).round() * step + step
    corners = corners + 400 * (torch.rand(*shape, 1, generator=generator) < outside)
    boxes = torch.cat([corners, corners + sides], -1)
    labels = torch.randint(-1, 3, shape, generator=generator)
    ignore = torch.rand(shape, generator=generator) < 0.2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iou_rules, "_LEAST_ELEMENTS", 0)
        near = CALLS[call](SMALL[grid], boxes, labels, ignore=ignore)
        far_away(patch)
        patch.setitem(_common.BLOCK_ELEMENTS, "cpu", block)
        far = CALLS[call](SMALL[grid], boxes, labels, ignore=ignore)
    for a, b in zip(near, far, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
