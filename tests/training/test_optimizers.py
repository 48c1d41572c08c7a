"""The built-in optimizers make the steps of their papers, whatever lies where in memory."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from boxwright.training.optimizers import adamw, sgd

SLOW = {
    "adamw": (adamw, partial(torch.optim.AdamW, foreach=False, fused=False)),
    "sgd": (sgd, partial(torch.optim.SGD, momentum=0.9, foreach=False, fused=False)),
    "nesterov": (
        partial(sgd, nesterov=True),
        partial(torch.optim.SGD, momentum=0.9, nesterov=True, foreach=False, fused=False),
    ),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", SLOW)
def test_a_step_is_that_of_the_loop_over_weights(name: str, memory_format: torch.memory_format) -> None:
    """One kernel goes through memory as it lies: gradients have to lie there as their weights do."""
    ours, theirs = SLOW[name]
    weights = []
    for make in (ours, theirs):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, (1, 3))).to(memory_format=memory_format)
        optimizer = make([{"params": list(net.parameters()), "weight_decay": 0.1}], lr=0.05)
        for _ in range(4):
            net(torch.randn(2, 3, 9, 9)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert weights[0].isfinite().all()
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SLOW)
def test_a_first_step_that_is_left_out_leaves_no_trace(name: str) -> None:
    """As in fp16, where the first scale is mostly too large."""
    ours, theirs = torch.nn.Parameter(torch.zeros(50, 40)), torch.nn.Parameter(torch.zeros(50, 40))
    fused, plain = (
        make([{"params": [weight]}], lr=0.1) for make, weight in zip(SLOW[name], (ours, theirs), strict=True)
    )
    for left_out in (True, True, False, False):
        ours.grad = torch.full_like(ours, torch.inf if left_out else 0.5)
        fused.found_inf = torch.tensor(float(left_out))
        fused.step()
        if not left_out:
            theirs.grad = ours.grad.clone()
            plain.step()
    torch.testing.assert_close(ours, theirs)
