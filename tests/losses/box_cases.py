"""What the tests of box losses share: every loss with its options, odd boxes, and golden numbers of torchvision (tv),
torch, fvcore (fv), mmdet (mm) and of the papers' formulas in float64 without eps (spec)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from boxwright import losses

_FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN: dict[str, Any] = {**np.load(_FOLDER / "losses.npz"), **np.load(_FOLDER / "box_losses.npz")}


def bound(loss: Callable[..., Tensor], **options: Any) -> Any:
    """A parameter of tests: the loss with its options, shown by name."""
    name = " ".join([loss.__name__, *(f"{key}={value}" for key, value in options.items())])
    return pytest.param(partial(loss, **options), id=name)


ON_DELTAS = [
    bound(losses.l1_loss),
    bound(losses.l2_loss),
    bound(losses.smooth_l1_loss),
    bound(losses.balanced_l1_loss),
    bound(losses.focal_l1_loss),
]
ON_BOXES = [
    bound(losses.iou_loss),
    bound(losses.iou_loss, mode="log"),
    bound(losses.iou_loss, mode="square"),
    bound(losses.giou_loss),
    bound(losses.diou_loss),
    bound(losses.ciou_loss),
    bound(losses.ciou_loss, variant="tpami"),
    bound(losses.ciou_loss, gradient="authors"),
    bound(losses.eiou_loss),
    bound(losses.focal_eiou_loss),
    bound(losses.focal_eiou_loss, detach=False),
    bound(losses.siou_loss),
    bound(losses.alpha_iou_loss),
    bound(losses.alpha_iou_loss, alpha=2.0, kind="giou"),
    bound(losses.alpha_iou_loss, alpha=0.5, kind="diou"),
    bound(losses.alpha_iou_loss, kind="ciou"),
    bound(losses.wiou_loss),
    bound(losses.mpdiou_loss, image_size=(300, 400)),
    bound(losses.inner_iou_loss),
    bound(losses.inner_iou_loss, ratio=1.25, kind="ciou"),
]

corner = st.sampled_from([0.0, 1e-8, 0.5, 3.0, 1e5, -1e5]) | st.floats(-1e3, 1e3, width=32)
side = st.sampled_from([0.0, 1e-8, 1e-20, 1.0, 1e4, 1e5]) | st.floats(0, 1e3, width=32)
odd_box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
odd_pairs = st.lists(st.tuples(odd_box, odd_box) | odd_box.map(lambda b: (b, b)), min_size=1, max_size=8)

far = st.sampled_from([0.0, 1e-45, 1e-30, 1e15, 1e18, -1e25, 1e30, -1e30, 2.0**127, -(2.0**127)])
wild_box = st.lists(far | st.floats(-(2.0**127), 2.0**127, width=32), min_size=4, max_size=4)


def value_and_gradient(loss, pred, target, dtype=torch.float64) -> tuple[Tensor, Tensor]:
    """Loss of each pair, and the gradient of their sum."""
    pred = torch.as_tensor(pred).detach().to(dtype, copy=True).requires_grad_()
    value = loss(pred, torch.as_tensor(target, dtype=dtype))
    value.sum().backward()
    return value.detach(), pred.grad


def with_area(pred: Tensor, target: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The pairs, as ``dtype``, whose target has an area in it."""
    pred, target = pred.to(dtype), target.to(dtype)
    kept = (target[:, 2:] > target[:, :2]).all(1)
    return pred[kept], target[kept]


def random_pairs(count: int = 5) -> tuple[Tensor, Tensor]:
    """Predictions of any shape, and targets with an area."""
    pred, target = torch.rand(2, count, 4)
    return pred, torch.cat([target[:, :2], target[:, :2] + target[:, 2:] + 0.1], 1)


def overlapping_pairs(seed: int = 0, count: int = 6) -> tuple[Tensor, Tensor]:
    """Pairs in float64 that overlap, away from every kink."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, count, 2, generator=generator, dtype=torch.float64) * 5
    sides = 6 + torch.rand(2, count, 2, generator=generator, dtype=torch.float64) * 5
    pred, target = torch.cat([corners, corners + sides], dim=-1)
    return pred, target


def assert_golden(loss, key: str, tolerance: float = 1e-9) -> None:
    """Values on all golden pairs, gradients where none of them touches a kink."""
    value, grad = value_and_gradient(loss, GOLDEN["pred"], GOLDEN["target"])
    np.testing.assert_allclose(value.numpy(), GOLDEN[f"L_{key}"], rtol=tolerance, atol=tolerance)
    smooth = GOLDEN["smooth"]
    np.testing.assert_allclose(grad.numpy()[smooth], GOLDEN[f"G_{key}"][smooth], rtol=1e-6, atol=tolerance)
