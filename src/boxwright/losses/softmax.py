"""Losses of softmax classifiers: ``f(logits, targets, ..., reduction="none")``, logits (N, K) and int64 (N,) -> (N,).

A target of -1 is ignored: its loss is 0, without gradient. Any leading dimensions are allowed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from boxwright._util.checks import check_within
from boxwright._util.devices import is_near
from boxwright.losses._reduction import Reduction, full_precision, power, reduce
from boxwright.parts import class_loss

# Lower limit of the scores that the compensation of seesaw loss divides by.
_LEAST_LOG_SCORE = math.log(0.01)

# From this many elements on, a gradient of few rows saves more than a Python function costs; and the size of a block,
# whose logarithms stay within a processor's cache.
_MANY, _BLOCK = 1 << 20, 1 << 17


@class_loss(kind="softmax")
@full_precision
def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
    reduction: Reduction = "none",
) -> Tensor:
    """Compute softmax cross entropy -w_t ln p_t, (N, K) and (N,) -> (N,).

    Args:
        logits: Class logits (N, K).
        targets: Class indices int64 (N,); -1 is ignored.
        label_smoothing: Mixes this share of the uniform distribution into the target.
        weight: Weight of each class (K,).
        reduction: "none", "sum" or "mean", which divides by N, ignored rows included, and not by the sum of weights.

    Raises:
        ValueError: If the shapes do not fit or the smoothing is outside 0..1.

    Examples:
        >>> bw.losses.cross_entropy(torch.zeros(3, 4), torch.tensor([0, 3, -1]))
        tensor([1.3863, 1.3863, 0.0000])
    """
    _check_shapes(logits, targets)
    try:
        if logits.ndim == 2:
            loss = _entropies(logits, targets, label_smoothing, weight)
        else:
            flat = logits.reshape(-1, logits.shape[-1]), targets.flatten()
            loss = _entropies(*flat, label_smoothing, weight).reshape(targets.shape)
    except IndexError:  # torch checks every label
        check_within(targets, -1, logits.shape[-1] - 1, "labels")
        raise
    return reduce(loss, reduction)


@class_loss(kind="softmax")
@full_precision
def softmax_focal_loss(
    logits: Tensor,
    targets: Tensor,
    alpha: Tensor | None = None,
    gamma: float = 2.0,
    reduction: Reduction = "none",
) -> Tensor:
    """Compute softmax focal loss (arXiv 1708.02002, eq. 5, over K classes): -alpha_t (1 - p_t)^gamma ln p_t.

    Args:
        logits: Class logits (N, K).
        targets: Class indices int64 (N,); -1 is ignored.
        alpha: Weight of each class (K,), or None. A single number would have no meaning, since no class is "the
            negative".
        gamma: Focusing exponent: larger values give easy examples less weight.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``gamma`` is negative or shapes do not fit.

    Examples:
        >>> bw.losses.softmax_focal_loss(torch.tensor([[2.0, 0, 0]]), torch.tensor([0]))
        tensor([0.0109])
    """
    _check(logits, targets)
    if gamma < 0 or (alpha is not None and alpha.shape != logits.shape[-1:]):
        shape = None if alpha is None else tuple(alpha.shape)
        raise ValueError(f"Expected gamma >= 0 and alpha (K,) but got {gamma} and {shape}")
    log_p = _log_p_of_target(logits, targets)
    loss = power(-log_p.expm1(), gamma) * -log_p
    if alpha is not None:
        loss = loss * alpha[targets.clamp(min=0)]
    return reduce(loss.masked_fill(targets < 0, 0), reduction)


@class_loss(kind="softmax")
@full_precision
def poly_loss(logits: Tensor, targets: Tensor, epsilon: float = 1.0, reduction: Reduction = "none") -> Tensor:
    """Compute Poly-1 loss (PolyLoss, arXiv 2204.12511): -ln p_t + epsilon (1 - p_t), (N, K) and (N,) -> (N,).

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> bw.losses.poly_loss(torch.tensor([[2.0, 0, 0]]), torch.tensor([0]))
        tensor([0.4526])
    """
    _check(logits, targets)
    log_p = _log_p_of_target(logits, targets)
    loss = -log_p - epsilon * log_p.expm1()
    return reduce(loss.masked_fill(targets < 0, 0), reduction)


def _no_counts(classes: int, **_: Any) -> Tensor:
    return torch.zeros(classes, dtype=torch.int64)


@class_loss(kind="softmax", state=_no_counts)
@full_precision
def seesaw_loss(
    logits: Tensor,
    targets: Tensor,
    p: float = 0.8,
    q: float = 2.0,
    state: Tensor | None = None,
    reduction: Reduction = "none",
) -> Tensor:
    """Compute seesaw loss (arXiv 2008.10032): cross entropy in which exp(z_j) counts S_ij times for target i.

    S_ij = min(1, N_j / N_i)^p x max(1, s_j / s_i)^q, where N is the number of boxes of each class seen so far (at least
    1) and s the softmax (s_i at least 0.01). S is constant in the gradient.

    A column beyond the state's K is background: it is not counted, and S = 1 from and to it, in place of the paper's
    separate objectness. (Its frequency, if counted, would remove nearly all penalty from false positives.)

    Args:
        logits: Class logits (N, K), or (N, K + 1) with background.
        targets: Class indices int64 (N,); -1 is ignored.
        p: Exponent of the mitigation factor, by class frequency.
        q: Exponent of the compensation factor, by score.
        state: The counts N, int64 (K,). This call's targets are added in place before the loss is computed. None uses
            the counts of this call alone.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: If ``p`` or ``q`` is negative or shapes do not fit.

    Examples:
        >>> counts = torch.tensor([1000, 10])  # class 0 is frequent, class 1 is rare
        >>> bw.losses.seesaw_loss(torch.zeros(2, 2), torch.tensor([0, 1]), state=counts)
        tensor([0.0267, 0.6931])
    """
    _check(logits, targets)
    columns = logits.shape[-1]
    counts = _no_counts(columns).to(logits.device) if state is None else state
    if counts.shape not in ((columns,), (columns - 1,)) or counts.is_floating_point() or p < 0 or q < 0:
        raise ValueError(
            f"Expected p, q >= 0 and a state int64 (K,) or (K - 1,) for K = {columns} but got {p}, {q} and "
            f"{counts.dtype} {tuple(counts.shape)}"
        )
    classes = len(counts)
    known = (targets >= 0) & (targets < classes)
    label = targets.clamp(0, classes - 1).unsqueeze(-1)
    counts = counts.scatter_add(0, label.flatten(), known.flatten().to(counts.dtype))
    if state is not None:
        state.copy_(counts)
    log_count = counts.clamp(min=1).to(logits.dtype).log()
    log_score = logits.detach().log_softmax(-1)
    own_score = log_score.gather(-1, label).clamp(min=_LEAST_LOG_SCORE)
    log_factor = p * (log_count - log_count[label]).clamp(max=0)
    log_factor = log_factor + q * (log_score[..., :classes] - own_score).clamp(min=0)
    log_factor = functional.pad(log_factor * known.unsqueeze(-1), (0, columns - classes))
    return cross_entropy(logits + log_factor, targets, reduction=reduction)


def _check(logits: Tensor, targets: Tensor) -> None:
    _check_shapes(logits, targets)
    check_within(targets, -1, logits.shape[-1] - 1, "labels")


def _check_shapes(logits: Tensor, targets: Tensor) -> None:
    if logits.shape[:-1] != targets.shape or targets.dtype != torch.int64:
        raise ValueError(
            f"Expected logits (N, K) and targets int64 (N,) but got {tuple(logits.shape)} and "
            f"{targets.dtype} {tuple(targets.shape)}"
        )


def _log_p_of_target(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute ln p_t (N,), using class 0 where the target is ignored."""
    return logits.log_softmax(-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)


def _entropies(logits: Tensor, targets: Tensor, label_smoothing: float, weight: Tensor | None) -> Tensor:
    """Compute -w_t ln p_t of rows (N, K) -> (N,).

    Raises:
        IndexError: If a label is out of range.
    """
    if logits.numel() >= _MANY and not label_smoothing and is_near(logits):
        loss: Tensor = _CrossEntropy.apply(logits, targets)
        return loss if weight is None else loss * weight[targets.clamp(min=0)]
    return functional.cross_entropy(logits, targets, weight, None, -1, None, "none", label_smoothing)


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy -ln p_t of many logits (N, K) and targets int64 (N,) -> (N,) on the CPU; 0 where the target is -1.

    The gradient p - [class = t] is computed in the backward pass, only for the rows that got one: after hard negative
    mining that is one in fifty. Only the logits are kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(logits, targets)
        rows = max(_BLOCK // logits.shape[1], 1)
        blocks = zip(torch.split(logits, rows), torch.split(targets, rows), strict=True)
        return torch.cat([functional.cross_entropy(*block, ignore_index=-1, reduction="none") for block in blocks])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        grad = grad.masked_fill(targets < 0, 0)
        rows = grad.nonzero().squeeze(1)
        if 2 * len(rows) > len(grad):
            return _slope(logits, targets, grad), None
        return torch.zeros_like(logits).index_copy_(0, rows, _slope(logits[rows], targets[rows], grad[rows])), None


def _slope(logits: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
    """Compute the gradient (n, K) of some rows."""
    label, grad, p = targets.clamp(min=0).unsqueeze(1), grad.unsqueeze(1), logits.softmax(1)
    p = p * grad if torch.is_grad_enabled() else p.mul_(grad)  # the first under create_graph
    return p.scatter_add_(1, label, -grad)
