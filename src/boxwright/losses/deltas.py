"""Losses of encoded boxes: plain functions ``f(pred, target, ..., reduction="none")``, (N, 4) -> (N,).

Each is a function of d = |pred - target|, summed over the 4 deltas. Any leading dimensions are allowed. Value and
gradient are finite for all finite predictions: a pair costs at most 1e30, without gradient beyond. All raise ValueError
for other shapes and, in eager calls on the CPU, for a target that is not finite.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch._C import _nn as native  # without the broadcasting of functional, which takes longer than few losses do
from torch.nn import functional

from boxwright.losses._pairs import EACH, check_pairs, reduce_deltas, reduce_plain
from boxwright.losses._reduction import Reduction, full_precision
from boxwright.parts import box_loss

# Above this ratio exp(gamma / alpha) of the balanced L1 overflows float32.
_MAX_BALANCE = 80.0
# The error whose square is the largest loss of a pair: larger errors are not squared, which would overflow float32.
_STRAIGHT = 1e15


@box_loss(space="deltas")
@full_precision
def l1_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Compute the L1 loss: the absolute error d, summed over the four deltas.

    Examples:
        >>> bw.losses.l1_loss(torch.tensor([[0.0, 0.5, 0, 2]]), torch.zeros(1, 4))
        tensor([2.5000])
    """
    check_pairs(pred, target)
    plain = partial(native.l1_loss, pred, target)
    return reduce_plain(plain, partial(plain, EACH), target, reduction)


@box_loss(space="deltas")
@full_precision
def l2_loss(pred: Tensor, target: Tensor, reduction: Reduction = "none") -> Tensor:
    """Compute the L2 loss: the squared error d^2 (without the factor 1/2), summed over the four deltas.

    Examples:
        >>> bw.losses.l2_loss(torch.tensor([[0.0, 0.5, 0, 2]]), torch.zeros(1, 4))
        tensor([4.2500])
    """
    check_pairs(pred, target)

    def limited() -> Tensor:
        return 2 * functional.huber_loss(pred, target, reduction="none", delta=_STRAIGHT)

    return reduce_plain(partial(native.mse_loss, pred, target), limited, target, reduction)


@box_loss(space="deltas")
@full_precision
def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0, reduction: Reduction = "none") -> Tensor:
    """Compute smooth L1 (Fast R-CNN, arXiv 1504.08083, eq. 3): d^2 / (2 beta) where d < beta, else d - beta / 2.

    Args:
        pred: Predicted deltas (N, 4).
        target: Encoded true boxes (N, 4).
        beta: Error at which the loss turns from quadratic to linear; 0 is plain L1.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``beta`` is negative.

    Examples:
        >>> bw.losses.smooth_l1_loss(torch.tensor([[0.0, 0.5, 0, 2]]), torch.zeros(1, 4))
        tensor([1.6250])
    """
    if beta < 0:
        raise ValueError(f"Expected beta >= 0 but got {beta}")
    check_pairs(pred, target)
    if beta == 0:  # where the slope of torch's would be 0 / 0
        return l1_loss(pred, target, reduction)
    plain = partial(native.smooth_l1_loss, pred, target, beta=beta)
    return reduce_plain(plain, partial(plain, EACH), target, reduction)


@box_loss(space="deltas")
@full_precision
def balanced_l1_loss(
    pred: Tensor,
    target: Tensor,
    alpha: float = 0.5,
    gamma: float = 1.5,
    beta: float = 1.0,
    reduction: Reduction = "none",
) -> Tensor:
    """Compute balanced L1 (Libra R-CNN, arXiv 1904.02701): smooth L1 with larger gradients for small errors.

    The slope is alpha ln(b d / beta + 1) where d < beta and gamma beyond; b = exp(gamma / alpha) - 1 makes it
    continuous. The paper has beta = 1; other values give beta L(d / beta), which keeps value and slope continuous (a
    common variant with ln(b d / beta + 1) alone does not).

    Args:
        pred: Predicted deltas (N, 4).
        target: Encoded true boxes (N, 4).
        alpha: Shape of the curve for small errors; a smaller alpha gives accurate boxes more weight.
        gamma: Upper bound of the slope, which limits the influence of outliers.
        beta: Error at which the slope reaches ``gamma``.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: Unless all three are above 0 and gamma / alpha is at most 80.

    Examples:
        >>> bw.losses.balanced_l1_loss(torch.tensor([[0.0, 0.5, 0, 2]]), torch.zeros(1, 4))
        tensor([2.9792])
    """
    if not (min(alpha, gamma, beta) > 0 and gamma <= _MAX_BALANCE * alpha):
        raise ValueError(
            f"Expected alpha, gamma, beta > 0 with gamma / alpha <= 80 but got {alpha}, {gamma} and {beta}"
        )
    check_pairs(pred, target)
    b = math.expm1(gamma / alpha)
    d = (pred - target).abs()
    near = d.clamp(max=beta)
    curve = alpha * ((near + beta / b) * torch.log1p(b / beta * near) - near)
    return reduce_deltas(curve + gamma * (d - near), target, reduction)


@box_loss(space="deltas")
@full_precision
def focal_l1_loss(pred: Tensor, target: Tensor, beta: float = 0.8, reduction: Reduction = "none") -> Tensor:
    """Compute focal L1 (arXiv 2101.08158): its slope peaks at d = 1 / (e beta) and is constant from d = 1 on.

    The slope is -alpha d ln(beta d) up to d = 1 and -alpha ln(beta) beyond, with alpha = e beta so that the peak is 1.
    The loss is its integral: -alpha d^2 (2 ln(beta d) - 1) / 4 up to 1.

    Args:
        pred: Predicted deltas (N, 4).
        target: Encoded true boxes (N, 4).
        beta: A larger value gives errors above 1 a smaller gradient; at 1 they have none.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``beta`` is outside 1 / e..1, where the slope has no peak below 1 or is negative.

    Examples:
        >>> bw.losses.focal_l1_loss(torch.tensor([[0.0, 0.5, 0, 2]]), torch.zeros(1, 4))
        tensor([1.6565])
    """
    if not 1 / math.e <= beta <= 1:
        raise ValueError(f"Expected beta in 1 / e..1 but got {beta}")
    check_pairs(pred, target)
    alpha = math.e * beta
    d = (pred - target).abs()
    near = d.clamp(max=1)
    log = torch.log(beta * near.clamp(min=torch.finfo(near.dtype).tiny))
    curve = alpha / 4 * near.square() * (1 - 2 * log)
    return reduce_deltas(curve - alpha * math.log(beta) * (d - near), target, reduction)
