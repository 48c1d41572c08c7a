"""Copies from a device, and autocast's context."""

from __future__ import annotations

import torch
from torch._subclasses import FakeTensorMode

from boxwright._util.devices import is_near, on_cpu, without_autocast
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


def test_near_is_what_an_eager_call_holds_on_the_cpu() -> None:
    values, seen = torch.zeros(2), []

    def look(values: torch.Tensor) -> torch.Tensor:
        seen.append(is_near(values))
        return values + is_near(values)

    assert is_near(values)
    assert is_near(values.device)
    assert not is_near(values.to("meta"))
    assert not is_near(torch.device("cuda"))
    torch.func.vmap(look)(values)
    with FakeTensorMode() as mode:
        look(mode.from_tensor(values))
    assert seen == [False, False]
    compiled = torch.compile(lambda values: values + is_near(values), backend="eager", fullgraph=True)
    assert compiled(values).tolist() == [0, 0]
