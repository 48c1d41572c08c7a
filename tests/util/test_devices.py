"""Copies from a device, and autocast's context."""

from __future__ import annotations

import torch

from boxwright._util.devices import on_cpu, without_autocast
from elsewhere import Elsewhere


def test_tensors_of_any_type_come_in_one_copy() -> None:
    sent = [
        torch.tensor([True, False, True]),
        torch.tensor([2**62 + 1, -1]),
        torch.tensor([[0.1, float("nan")], [1e30, 2.0]], dtype=torch.float64).t(),
        torch.zeros(0, 4),
        torch.tensor(3.5),
    ]
    with Elsewhere() as device:
        found = on_cpu(*device.send(*sent))
    assert device.waits == ["_to_copy"]
    for one, wanted in zip(found, sent, strict=True):
        torch.testing.assert_close(one, wanted, rtol=0, atol=0, equal_nan=True)
    assert all(one is wanted for one, wanted in zip(on_cpu(*sent), sent, strict=True))


def test_autocast_is_off_within_and_as_it_was_after() -> None:
    left, right = torch.ones(2, 2), torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with without_autocast("cpu"):
            assert (left @ right).dtype == torch.float32
        assert (left @ right).dtype == torch.bfloat16
    with without_autocast("meta"):
        assert (left @ right).dtype == torch.float32
