"""Losses of encoded boxes: closed forms, golden numbers, slopes."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from box_cases import GOLDEN, ON_DELTAS, value_and_gradient

from boxwright import losses


def at(loss, *distances):
    """Value and slope of a loss at single errors, in float64."""
    pred = torch.zeros(len(distances), 4, dtype=torch.float64)
    pred[:, 2] = torch.tensor(distances, dtype=torch.float64)
    value, grad = value_and_gradient(loss, pred, torch.zeros_like(pred))
    assert not grad[:, [0, 1, 3]].any()
    return value, grad[:, 2]


def test_closed_forms():
    pred, target = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]])
    assert losses.l1_loss(pred, target).item() == 2
    assert losses.l2_loss(pred, target * 3).item() == 9 + 49 + 16
    assert losses.smooth_l1_loss(pred, target).item() == 1
    assert losses.smooth_l1_loss(pred, target, beta=2.0).item() == pytest.approx(2 * 0.25)
    b = math.e**3 - 1
    joint = 0.5 / b * (b + 1) * 3 - 0.5  # the paper's curve at 1, where ln(b + 1) = gamma / alpha
    assert losses.balanced_l1_loss(pred, target).item() == pytest.approx(2 * joint)
    assert losses.focal_l1_loss(pred, target, beta=1.0).item() == pytest.approx(2 * math.e / 4)


@pytest.mark.parametrize(
    ("key", "loss"),
    [
        ("torch_l1", losses.l1_loss),
        ("torch_mse", losses.l2_loss),
        ("torch_smooth_l1_beta1", losses.smooth_l1_loss),
        ("torch_smooth_l1_beta1_9", partial(losses.smooth_l1_loss, beta=1 / 9)),
        ("torch_smooth_l1_beta0.5", partial(losses.smooth_l1_loss, beta=0.5)),
        ("torch_smooth_l1_beta0", partial(losses.smooth_l1_loss, beta=0.0)),
        ("torch_l1", partial(losses.smooth_l1_loss, beta=0.0)),
        ("fv_smooth_l1_beta0.11", partial(losses.smooth_l1_loss, beta=0.11)),
        ("mm_balanced_l1_beta1_a0.5_g1.5", losses.balanced_l1_loss),
        ("mm_balanced_l1_beta1_a0.25_g1", partial(losses.balanced_l1_loss, alpha=0.25, gamma=1.0)),
        ("spec_focal_l1_beta0.8", losses.focal_l1_loss),
        ("spec_focal_l1_beta0.5", partial(losses.focal_l1_loss, beta=0.5)),
        ("spec_focal_l1_beta1", partial(losses.focal_l1_loss, beta=1.0)),
    ],
)
def test_equals_the_references(key, loss):
    value, grad = value_and_gradient(loss, GOLDEN["reg_pred"], GOLDEN["reg_target"])
    np.testing.assert_allclose(value.numpy(), GOLDEN[f"L_{key}"].sum(1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad.numpy(), GOLDEN[f"G_{key}"], rtol=1e-9, atol=1e-12)


def test_smooth_l1_tends_to_l1():
    pred, target = (torch.from_numpy(GOLDEN[key]) for key in ("reg_pred", "reg_target"))
    small = losses.smooth_l1_loss(pred, target, beta=1e-9)
    torch.testing.assert_close(small, losses.l1_loss(pred, target), atol=1e-8, rtol=0)
    torch.testing.assert_close(losses.smooth_l1_loss(pred, target, beta=0.0), losses.l1_loss(pred, target))


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_balanced_l1_has_the_papers_slope_and_no_jump(beta):
    loss = partial(losses.balanced_l1_loss, beta=beta)
    errors = [0.0, 0.3 * beta, 0.999999 * beta, beta, 1.000001 * beta, 10 * beta]
    value, slope = at(loss, *errors)
    b = math.e**3 - 1
    for error, found in zip(errors, slope.tolist(), strict=True):
        assert found == pytest.approx(0.5 * math.log(b * error / beta + 1) if error < beta else 1.5, abs=1e-9)
    assert value[0] == 0
    assert value[4] - value[2] < 1e-5 * beta
    steepest = at(partial(losses.balanced_l1_loss, beta=1e-9), 2.0)
    assert steepest[0].item() == pytest.approx(1.5 * 2.0)  # beta -> 0 is gamma L1


@pytest.mark.parametrize("beta", [1 / math.e, 0.5, 0.8, 1.0])
def test_focal_l1_peaks_at_its_best_error_and_stays_constant_beyond_one(beta):
    loss = partial(losses.focal_l1_loss, beta=beta)
    errors = torch.linspace(0, 1, 1001, dtype=torch.float64)
    _, slope = at(loss, *errors.tolist())
    assert slope[0] == 0
    assert slope.max().item() == pytest.approx(1, abs=1e-5)
    assert errors[slope.argmax()].item() == pytest.approx(1 / (math.e * beta), abs=2e-3)
    value, beyond = at(loss, 1.0, 1.0 + 1e-9, 7.0)
    assert beyond.tolist() == pytest.approx([-math.e * beta * math.log(beta)] * 3)
    assert value[1].item() == pytest.approx(value[0].item())


@pytest.mark.parametrize("loss", ON_DELTAS)
def test_grows_with_the_error_and_ignores_its_sign(loss):
    value, slope = at(loss, *torch.linspace(0, 3, 61).tolist())
    assert value[0] == 0
    assert (value.diff() > 0).all()
    assert (slope >= 0).all()
    mirrored, negative = at(loss, *torch.linspace(0, -3, 61).tolist())
    assert torch.equal(mirrored, value)
    assert torch.equal(negative, -slope)


@pytest.mark.parametrize("loss", ON_DELTAS)
def test_tiny_and_huge_errors(loss):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        error = torch.zeros(7, 4, dtype=torch.float64)
        error[:, 0] = torch.tensor([0.0, 1e-45, 1e-30, 1e-8, 1.0, 1e4, 6e4])
        value, grad = value_and_gradient(loss, error.to(dtype), torch.zeros(7, 4), dtype)
        assert value.isfinite().all()
        assert grad.isfinite().all()
        assert grad[-1, 0] > 0


@pytest.mark.parametrize("loss", ON_DELTAS)
def test_many_pairs_cost_what_few_cost(loss):
    """From many pairs on, coordinates are summed in another way: the same bits, and the same gradients twice over."""
    pred, target = torch.randn(2, 1 << 14, 4, generator=torch.Generator().manual_seed(0)).unbind()
    value, grad = value_and_gradient(loss, pred, target, torch.float32)
    parts = zip(pred.split(1000), target.split(1000), strict=True)
    values, grads = zip(*(value_and_gradient(loss, *part, torch.float32) for part in parts), strict=True)
    assert torch.equal(value, torch.cat(values))
    assert torch.equal(grad, torch.cat(grads))
    many = pred.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(many, target).square().sum(), many, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), many)
    assert curve.isfinite().all()


def test_options_are_checked():
    pair = torch.zeros(1, 4), torch.ones(1, 4)
    with pytest.raises(ValueError, match="Expected beta >= 0 but got -1"):
        losses.smooth_l1_loss(*pair, beta=-1)
    for options in ({"alpha": 0.0}, {"gamma": -1.0}, {"beta": 0.0}, {"alpha": 0.01}):
        with pytest.raises(ValueError, match="Expected alpha, gamma, beta > 0 with gamma / alpha <= 80 but got"):
            losses.balanced_l1_loss(*pair, **options)
    for beta in (0.3, 1.1, 0.0):
        with pytest.raises(ValueError, match=rf"Expected beta in 1 / e..1 but got {beta}"):
            losses.focal_l1_loss(*pair, beta=beta)
