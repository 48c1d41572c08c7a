"""What the tests of classification losses share: golden numbers of torchvision (tv), fvcore (fv), mmdet (mm), kornia,
and of the papers' formulas in float64 (spec)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

with np.load(Path(__file__).parents[1] / "golden" / "cls_losses.npz") as _file:
    GOLDEN = {key: torch.from_numpy(_file[key]) for key in _file}

any_logit = st.sampled_from([0.0, -0.0, 1e4, -1e4, 1e30, -1e30, 1e-30, 39.9, 40.1, 88.8, -104.0]) | st.floats(
    -50, 50, width=32
)


def value_and_gradient(loss: Callable[..., Tensor], logits: Tensor, *args: Tensor) -> tuple[Tensor, Tensor]:
    """Elements of a loss, and the gradient of their sum."""
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, *args)
    value.sum().backward()
    assert logits.grad is not None
    return value.detach(), logits.grad


def assert_golden(key: str, loss: Callable[..., Tensor], *args: Tensor, tolerance: float = 1e-9) -> None:
    """Value and gradient on the golden logits."""
    value, grad = value_and_gradient(loss, GOLDEN["logits"], *args)
    for ours, theirs in ((value, GOLDEN[f"L_{key}"]), (grad, GOLDEN[f"G_{key}"])):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=tolerance, atol=tolerance)
