"""Slopes of overlap losses in closed form against those that torch finds for the same expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from box_cases import GOLDEN, ON_BOXES, overlapping_pairs, value_and_gradient
from torch import Tensor

from boxwright import losses
from boxwright.losses import _overlap

Pairs = tuple[Tensor, Tensor]


INNER = (1.0, 0.75, 1.25)  # how much of their sides the boxes of the losses below have


def golden() -> Pairs:
    return away_from_limits(torch.from_numpy(GOLDEN["pred"]), torch.from_numpy(GOLDEN["target"]))


def on_a_grid() -> Pairs:
    """Pairs with equal corners, nested, apart, and predictions turned inside out."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(-3, 8, (2, 3000, 2), generator=generator)
    sides = torch.stack([torch.randint(low, 6, (3000, 2), generator=generator) for low in (-2, 1)])
    pred, target = torch.cat([corners, corners + sides], -1).double()
    return away_from_limits(pred, target)


def away_from_limits(pred: Tensor, target: Tensor) -> Pairs:
    """Leave out pairs that touch, and flat predictions: versions of torch differ in a limit's own slope."""
    smooth = (pred[:, 2:] != pred[:, :2]).all(1)
    for ratio in INNER:
        (low, high), (other_low, other_high) = inner(pred, ratio), inner(target, ratio)
        overlap = torch.minimum(high, other_high) - torch.maximum(low, other_low)
        smooth &= (overlap.abs() > 1e-9).all(1)
    assert smooth.sum() > len(pred) / 4
    return pred[smooth], target[smooth]


def inner(boxes: Tensor, ratio: float) -> Pairs:
    """The corners of boxes about the same centers, with sides of this ratio."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * ratio
    return center - half, center + half


def far_and_tiny() -> Pairs:
    pred, target = on_a_grid()
    near = [(pred * scale, target * scale) for scale in (1e-13, 1e7)]
    pred, target = (torch.cat(part) for part in zip(*near, (pred * 1e7, target), strict=True))
    return pred, target


@pytest.mark.parametrize("pairs", [golden, on_a_grid, far_and_tiny])
@pytest.mark.parametrize("loss", ON_BOXES)
def test_slopes_are_those_of_torch(loss: Any, pairs: Callable[[], Pairs], monkeypatch: pytest.MonkeyPatch) -> None:
    value, slope = value_and_gradient(loss, *pairs())
    monkeypatch.setattr(_overlap, "is_eager", lambda _: False)
    wanted, slope_of_torch = value_and_gradient(loss, *pairs())
    torch.testing.assert_close(value, wanted, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(slope, slope_of_torch, rtol=1e-9, atol=1e-9 * slope_of_torch.abs().max().item())


@pytest.mark.parametrize("loss", ON_BOXES)
def test_a_gradient_can_be_differentiated(loss: Any) -> None:
    pred, target = overlapping_pairs()
    pred.requires_grad_()

    def curvature() -> Tensor:
        (slope,) = torch.autograd.grad(loss(pred, target).sum(), pred, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), pred)[0]

    found = curvature()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_overlap, "is_eager", lambda _: False)
        torch.testing.assert_close(found, curvature())
    assert found.any()


def test_a_second_backward_pass_gives_the_same() -> None:
    pred, target = overlapping_pairs()
    total = losses.ciou_loss(pred.requires_grad_(), target).sum()
    first, second = (torch.autograd.grad(total, pred, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_targets_that_learn_get_their_gradient_too() -> None:
    pred, target = overlapping_pairs()
    pred.requires_grad_()
    target.requires_grad_()
    losses.giou_loss(pred, target).sum().backward()
    assert target.grad is not None
    assert pred.grad is not None
    _, alone = value_and_gradient(losses.giou_loss, pred, target.detach())
    torch.testing.assert_close(pred.grad, alone)
    _, mirrored = value_and_gradient(losses.giou_loss, target, pred.detach())  # symmetric
    torch.testing.assert_close(target.grad, mirrored)
