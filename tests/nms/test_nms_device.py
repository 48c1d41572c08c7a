"""Every NMS beside the processor: the same result as on the CPU, and how often it waits for the device."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from boxwright.nms import NmsKind, _candidates, _matrix, batched_nms, hard, suppress, vote_boxes
from elsewhere import Elsewhere

KINDS = get_args(NmsKind)


def crowd(count: int, classes: int, unsound: bool = False) -> list[Tensor]:
    """Boxes (n, 4), ten around each object, scores (n,) with many equal ones and labels (n,)."""
    generator = torch.Generator().manual_seed(count)
    objects = max(count // 10, 1)
    owner = torch.randint(objects, (count,), generator=generator)
    centers = torch.rand(objects, 2, generator=generator)[owner] * 400
    centers = centers + 6 * torch.randn(count, 2, generator=generator)
    sides = torch.exp(3.5 + 0.4 * torch.randn(count, 2, generator=generator))
    boxes = torch.cat([centers - sides / 2, centers + sides / 2], dim=1)
    scores = torch.randint(1, 500, (count,), generator=generator) / 500
    if unsound and count:
        boxes[::7, 1], boxes[::11], scores[::13] = math.inf, math.nan, math.nan
    return [boxes, scores, owner % classes]


def run(candidates: list[Tensor], kind: NmsKind, agnostic: bool = False) -> tuple[list[Tensor], Elsewhere]:
    with Elsewhere() as device:
        found = suppress(*device.send(*candidates), kind=kind, agnostic=agnostic)
        waits = list(device.waits)
        found = [values.cpu() for values in found]
    device.waits = waits
    return found, device


def assert_same(found: list[Tensor], wanted: tuple[Tensor, Tensor], kind: NmsKind, count: int) -> None:
    """To the last box; but decays are multiplied in another order, which can change places by rounding."""
    if "soft" not in kind:
        assert torch.equal(found[0], wanted[0])
    left, wanted_left = (torch.zeros(count).index_put((index,), scores) for index, scores in (found, wanted))
    torch.testing.assert_close(left, wanted_left, rtol=1e-5, atol=0)
    assert (found[1].diff() <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "classes"), [(0, 1), (1, 1), (60, 3), (700, 1), (1500, 20)])
@pytest.mark.parametrize("unsound", [False, True])
def test_equals_the_cpu(kind, count, classes, unsound):
    candidates = crowd(count, classes, unsound)
    for agnostic in (False, True):
        wanted = suppress(*candidates, kind=kind, agnostic=agnostic)
        found, _ = run(candidates, kind, agnostic)
        assert_same(found, wanted, kind, count)


@pytest.mark.parametrize("kind", KINDS)
def test_waits_twice_whatever_the_chain_of_suppressions(kind):
    chain = 1.5 * torch.arange(300.0).unsqueeze(1) + torch.tensor([0.0, 0.0, 10.0, 10.0])
    row = [chain, torch.linspace(0.9, 0.1, 300), torch.zeros(300, dtype=torch.int64)]
    for candidates in (crowd(1000, 20), crowd(1000, 1), row):
        _, device = run(candidates, kind)
        assert len(device.waits) <= 2, device.waits
        assert device.launched < 200  # views among them


@pytest.mark.parametrize("kind", ["diou", "cluster_soft", "soft_gaussian"])
def test_blocks_and_parts_of_the_matrix_do_not_change_the_result(kind, monkeypatch):
    candidates = crowd(300, 2, unsound=True)
    wanted = suppress(*candidates, kind=kind)
    monkeypatch.setattr(_candidates, "_BLOCK", 300 * 7)
    monkeypatch.setattr(_candidates, "_PART", 300 * 100)
    found, device = run(candidates, kind)
    assert_same(found, wanted, kind, 300)
    assert device.waits.count("nonzero") == 3


def test_a_vote_waits_for_nothing():
    boxes, scores, labels = crowd(200, 3, unsound=True)
    kept, _ = suppress(boxes, scores, labels)
    wanted = vote_boxes(boxes[kept], labels[kept], boxes, scores, labels)
    with Elsewhere() as device:
        voted = vote_boxes(*device.send(boxes[kept], labels[kept], boxes, scores, labels))
        assert device.waits == []
        assert torch.equal(voted.cpu(), wanted)


@pytest.mark.parametrize("unsound", [False, True])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (700, 1), (1500, 20)])
def test_many_boxes_are_settled_at_once(count, classes, unsound, monkeypatch):
    candidates = crowd(count, classes, unsound)
    monkeypatch.setattr(hard, "_MANY", 0)
    monkeypatch.setattr(_matrix, "_BLOCK", 5000)
    for agnostic in (False, True):
        wanted = batched_nms(*candidates, agnostic=agnostic)
        with Elsewhere() as device:
            found = batched_nms(*device.send(*candidates), agnostic=agnostic).cpu()
        assert torch.equal(found, wanted)


def test_a_chain_of_any_length_is_followed_to_its_end():
    """Each box suppresses the next one alone, so that every second stays."""
    chain = 1.5 * torch.arange(101.0).unsqueeze(1) + torch.tensor([0.0, 0.0, 10.0, 10.0])
    kept = _matrix.nms_by_matrix(chain, torch.linspace(0.9, 0.1, 101), torch.zeros(101, dtype=torch.int64), 0.5)
    assert torch.equal(kept, torch.arange(0, 101, 2))


def test_pairs_that_are_too_many_to_be_held_are_left_to_the_other_way(monkeypatch):
    candidates = crowd(300, 2)
    monkeypatch.setattr(hard, "_MANY", 0)
    monkeypatch.setattr(_matrix, "_LARGEST", 1000)
    with Elsewhere() as device:
        found = batched_nms(*device.send(*candidates)).cpu()
    assert torch.equal(found, batched_nms(*candidates))
