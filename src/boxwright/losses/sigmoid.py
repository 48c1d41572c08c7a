"""Losses of sigmoid classifiers: ``f(logits, targets, ..., reduction="none")``, logits (N, K) -> (N, K).

Targets are class indices int64 (N,), with K for background and -1 for ignored rows (loss 0, no gradient), or floats
(N, K). The reduction "rows" sums over the classes, (N,). Any leading dimensions are allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from boxwright._util.checks import check_labels, check_within
from boxwright._util.devices import is_eager
from boxwright.losses._focal import quality_focal, sigmoid_focal
from boxwright.losses._labels import one_hot
from boxwright.losses._reduction import (
    ElementReduction,
    full_precision,
    power,
    reduce,
    reduce_elements,
)
from boxwright.losses._slopes import WithSlope
from boxwright.parts import class_loss


@class_loss(kind="sigmoid")
@full_precision
def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
    reduction: ElementReduction = "none",
) -> Tensor:
    """Compute binary cross entropy for each class on its own: -w_k t ln p - (1 - t) ln(1 - p), (N, K) -> (N, K).

    Args:
        logits: Class logits (N, K).
        targets: Class indices int64 (N,), K background and -1 ignored, or floats (N, K) in 0..1.
        label_smoothing: Smoothing s in 0..1 moves targets to t (1 - s) + s / 2.
        weight: Factors (K,) of the positive part of each class.
        reduction: "none", "rows" (sum over classes), "mean" or "sum".

    Raises:
        ValueError: If the shapes do not fit or the smoothing is outside 0..1.

    Examples:
        >>> bw.losses.binary_cross_entropy(torch.zeros(3, 2), torch.tensor([1, 2, -1]))  # class 1, background, ignored
        tensor([[0.6931, 0.6931],
                [0.6931, 0.6931],
                [0.0000, 0.0000]])
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"Expected label_smoothing in 0..1 but got {label_smoothing}")
    least = _check(logits, targets)
    all_count = targets.is_floating_point() or (least is not None and least >= 0)
    counted = None if all_count else _counted(logits, targets)
    if not targets.is_floating_point():
        targets = one_hot(targets, logits.shape[-1], logits.dtype)
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / 2
    loss = functional.binary_cross_entropy_with_logits(logits, targets, counted, reduction="none", pos_weight=weight)
    return reduce_elements(loss, reduction)


@class_loss(kind="sigmoid")
@full_precision
def sigmoid_focal_loss(
    logits: Tensor,
    targets: Tensor,
    alpha: float | Tensor | Literal["batch"] | None = 0.25,
    gamma: float = 2.0,
    reduction: ElementReduction = "none",
) -> Tensor:
    """Compute focal loss (arXiv 1708.02002, eq. 5): -alpha_t (1 - p_t)^gamma ln p_t, (N, K) -> (N, K).

    With gamma = 0 and alpha = None it is binary cross entropy. On class indices it needs the memory of one gradient.

    Args:
        logits: Class logits (N, K).
        targets: Class indices int64 (N,), K background and -1 ignored, or floats (N, K).
        alpha: Weight of positives, with 1 - alpha for negatives: a number, a tensor (K,) with one per class (which gets
            no gradient), None for no weights, or "batch" for the share of negatives among this call's elements (a call
            without positives then costs nothing).
        gamma: Focusing exponent: larger values give easy examples less weight.
        reduction: "none", "rows" (sum over classes), "mean" or "sum".

    Raises:
        ValueError: If ``alpha`` is outside 0..1, ``gamma`` is negative, a label is outside -1..K or shapes do not fit.

    Examples:
        >>> bw.losses.sigmoid_focal_loss(torch.tensor([[2.0, -1.0]]), torch.tensor([0]))
        tensor([[0.0005, 0.0170]])
    """
    if gamma < 0:
        raise ValueError(f"Expected gamma >= 0 but got {gamma}")
    _check(logits, targets)
    positive, negative = _focal_weights(alpha, logits, targets)
    evaluate = partial(sigmoid_focal, targets=targets.flatten(), positive=positive, negative=negative, gamma=gamma)
    expression = partial(_focal_expression, positive=positive, negative=negative, gamma=gamma)
    return _focal_loss(logits, targets, None if targets.is_floating_point() else evaluate, expression, reduction)


@class_loss(kind="sigmoid", soft_targets=True)
@full_precision
def quality_focal_loss(
    logits: Tensor, targets: Tensor, beta: float = 2.0, reduction: ElementReduction = "none"
) -> Tensor:
    """Compute quality focal loss (GFL, arXiv 2006.04388, eq. 2): |t - p|^beta x binary cross entropy(p, t).

    The gradient flows through both factors. It needs the memory of one gradient.

    Args:
        logits: Class logits (N, K).
        targets: Floats (N, K): each positive's IoU at its class and 0 elsewhere; or class indices int64 (N,).
        beta: Focusing exponent.
        reduction: "none", "rows" (sum over classes), "mean" or "sum".

    Raises:
        ValueError: If ``beta`` is below 1, where the gradient is unbounded, or shapes do not fit.

    Examples:
        >>> bw.losses.quality_focal_loss(torch.zeros(1, 2), torch.tensor([[0.8, 0.0]]))
        tensor([[0.0624, 0.1733]])
    """
    if beta < 1:
        raise ValueError(f"Expected beta >= 1 but got {beta}")
    _check(logits, targets)
    expression = partial(_quality_expression, beta=beta)
    if targets.is_floating_point():
        evaluate = partial(quality_focal, targets=targets.reshape(-1, logits.shape[-1]), beta=beta)
        constant = targets.dtype == logits.dtype and not targets.requires_grad
        return _focal_loss(logits, targets, evaluate if constant else None, expression, reduction)
    one = logits.new_ones(())
    evaluate = partial(sigmoid_focal, targets=targets.flatten(), positive=one, negative=one, gamma=beta)
    return _focal_loss(logits, targets, evaluate, expression, reduction)


@class_loss(kind="sigmoid", soft_targets=True)
@full_precision
def varifocal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.75, gamma: float = 2.0, reduction: ElementReduction = "none"
) -> Tensor:
    """Compute varifocal loss (VarifocalNet, arXiv 2008.13367, eq. 2), which scales down negatives alone.

    It is q x binary cross entropy(p, q) for a positive of quality q > 0, and -alpha p^gamma ln(1 - p) where q = 0. A
    positive whose box misses its target (q = 0) therefore counts as a negative. The gradient flows through p^gamma too.

    Args:
        logits: Class logits (N, K).
        targets: Floats (N, K): each positive's IoU at its class and 0 elsewhere; or class indices int64 (N,).
        alpha: Weight of negatives.
        gamma: Focusing exponent of negatives.
        reduction: "none", "rows" (sum over classes), "mean" or "sum".

    Raises:
        ValueError: If ``alpha`` or ``gamma`` is negative, or shapes do not fit.

    Examples:
        >>> bw.losses.varifocal_loss(torch.zeros(1, 2), torch.tensor([[0.8, 0.0]]))
        tensor([[0.5545, 0.1300]])
    """
    if alpha < 0 or gamma < 0:
        raise ValueError(f"Expected alpha and gamma of at least 0 but got {alpha} and {gamma}")
    targets, counted = _dense_targets(logits, targets)
    weight = torch.where(targets > 0, targets, alpha * power(logits.sigmoid(), gamma))
    loss = weight * functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return reduce_elements(loss * counted, reduction)


def _no_density(_classes: int, bins: int = 30, momentum: float = 0.0, **_: Any) -> Tensor | None:
    return torch.zeros(bins) if momentum else None


@class_loss(kind="sigmoid", normalized=True, state=_no_density)
@full_precision
def ghm_loss(
    logits: Tensor,
    targets: Tensor,
    bins: int = 30,
    momentum: float = 0.0,
    state: Tensor | None = None,
    reduction: ElementReduction = "none",
) -> Tensor:
    """Compute GHM-C (arXiv 1811.05181): binary cross entropy divided by gradient density, (N, K) -> (N, K).

    The density of an element is the number of elements whose |p - t| falls into its bin, times the number of non-empty
    bins (the paper multiplies by all ``bins``, which is the same when none is empty). Ignored rows are not counted. The
    sum is the loss of the batch: do not divide it by a number of positives, as the densities add up to that of all
    elements already.

    Args:
        logits: Class logits (N, K).
        targets: Class indices int64 (N,), K background and -1 ignored, or floats (N, K).
        bins: Number of bins of |p - t| in 0..1.
        momentum: Above 0, counts are an exponential mean over calls, kept in ``state``.
        state: Float tensor (bins,), updated in place. Zeros start from the first batch's counts, which keeps the first
            steps from being too large.
        reduction: "none", "rows" (sum over classes), "mean" or "sum".

    Raises:
        ValueError: If ``bins`` is below 1, ``momentum`` is outside 0..1 or comes without ``state``, or shapes do not
            fit.

    Examples:
        >>> bw.losses.ghm_loss(torch.tensor([[2.0, -1.0], [0.0, -3.0]]), torch.tensor([0, 2]), reduction="sum")
        tensor(0.2955)
    """
    _check_density(bins, momentum, state)
    targets, counted = _dense_targets(logits, targets)
    distance = (logits.detach().sigmoid() - targets).abs()
    place = (distance * bins).long().clamp(max=bins - 1)
    counts = counted.long().expand_as(place).flatten()
    found = counts.new_zeros(bins).scatter_add(0, place.flatten(), counts)
    density = found.to(logits.dtype)
    if state is not None and momentum:
        mean = torch.where(state.any(), state.lerp(density.to(state.dtype), 1 - momentum), density.to(state.dtype))
        state.copy_(torch.where(found.any(), mean, state))
        density = state.to(logits.dtype)
    weight = torch.where(found > 0, 1 / density, 0) / (found > 0).sum().clamp(min=1)
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return reduce_elements(loss * weight[place] * counted, reduction)


def _focal_loss(
    logits: Tensor,
    targets: Tensor,
    evaluate: Callable[..., tuple[Tensor, Tensor]] | None,
    expression: Callable[[Tensor, Tensor], Tensor],
    reduction: ElementReduction,
) -> Tensor:
    """Reduce the losses of logits (..., K).

    They come from ``evaluate``, which gives their slopes too, where it can be used; otherwise from ``expression``,
    which a compiler fuses and functorch transforms can trace.
    """
    if evaluate is None or not is_eager(logits):
        return reduce_elements(expression(logits, targets), reduction)
    by_row = reduction != "none"
    rows = targets.shape[: logits.ndim - 1]

    def plain(flat: Tensor) -> Tensor:
        loss = expression(flat.reshape(logits.shape), targets)
        return loss.sum(-1).flatten() if by_row else loss.reshape(flat.shape)

    flat = logits if logits.ndim == 2 else logits.reshape(-1, logits.shape[-1])
    loss: Tensor = WithSlope.apply(flat, partial(evaluate, rows=by_row), plain)
    if logits.ndim != 2:
        loss = loss.reshape(rows if by_row else logits.shape)
    if reduction == "rows":
        return loss
    return loss.sum() / max(logits.numel(), 1) if reduction == "mean" else reduce(loss, reduction)


def _focal_expression(logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float) -> Tensor:
    targets, counted = _dense(logits, targets)
    p = logits.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    distance = targets * (1 - p) + (1 - targets) * p
    weight = (targets * positive + (1 - targets) * negative) * counted
    return weight * power(distance, gamma) * cross_entropy


def _quality_expression(logits: Tensor, targets: Tensor, beta: float) -> Tensor:
    targets, counted = _dense(logits, targets)
    distance = (targets - logits.sigmoid()).abs()
    loss = distance.pow(beta) * functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return loss * counted


def _focal_weights(
    alpha: float | Tensor | Literal["batch"] | None, logits: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the weights of positives and of negatives, () or (K,)."""
    if alpha is None:
        return logits.new_ones(()), logits.new_ones(())
    if isinstance(alpha, str):
        if alpha != "batch":
            raise ValueError(f"Expected alpha to be a number, a tensor (K,), 'batch' or None but got {alpha!r}")
        return _balance(logits, targets)
    known = alpha.shape in ((), logits.shape[-1:]) if isinstance(alpha, Tensor) else 0 <= alpha <= 1
    if not known:
        raise ValueError(f"Expected alpha in 0..1, a number or (K,), but got {alpha}")
    if isinstance(alpha, Tensor):
        weight = alpha.to(logits)
        check_within(weight, 0, 1, "alpha")
    else:
        weight = logits.new_full((), alpha)
    return weight, 1 - weight


def _balance(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the shares of negatives and of positives among the elements that count, ()."""
    if targets.is_floating_point():
        elements, positives = logits.new_full((), targets.numel()), (targets > 0).sum()
    else:
        elements = (targets >= 0).sum() * logits.shape[-1]
        positives = ((targets >= 0) & (targets < logits.shape[-1])).sum()
    share = positives.to(logits.dtype) / elements.clamp(min=1)
    return 1 - share, share


def _check_density(bins: int, momentum: float, state: Tensor | None) -> None:
    if bins < 1 or not 0 <= momentum < 1:
        raise ValueError(f"Expected bins >= 1 and momentum in 0..1 but got {bins} and {momentum}")
    if momentum and (state is None or state.shape != (bins,) or not state.is_floating_point()):
        found = None if state is None else f"{state.dtype} {tuple(state.shape)}"
        raise ValueError(f"Expected a state float ({bins},) with momentum {momentum} but got {found}")


def _check(logits: Tensor, targets: Tensor) -> float | None:
    """Raise ValueError for targets of another shape, type or value; return the least value, None if unseen."""
    soft = targets.is_floating_point()
    if targets.shape != (logits.shape if soft else logits.shape[:-1]) or not (soft or targets.dtype == torch.int64):
        raise ValueError(
            f"Expected logits (N, K) and targets int64 (N,) or float (N, K) but got {tuple(logits.shape)} and "
            f"{targets.dtype} {tuple(targets.shape)}"
        )
    if soft:
        return check_within(targets, 0, 1, "soft targets")
    return check_labels(targets, -1, logits.shape[-1], " (K is background)")


def _dense_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Turn targets into floats (N, K) and a mask of the rows that count, (N, 1).

    Raises:
        ValueError: If the targets have another shape, type or label.
    """
    _check(logits, targets)
    return _dense(logits, targets)


def _dense(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if targets.is_floating_point():
        return targets, torch.ones_like(logits[..., :1])
    return one_hot(targets, logits.shape[-1], logits.dtype), _counted(logits, targets)


def _counted(logits: Tensor, targets: Tensor) -> Tensor:
    return (targets >= 0).unsqueeze(-1).to(logits.dtype)
