"""Focal losses of sigmoids as one autograd function: no one-hot targets, few temporaries.

With f(x) = sigmoid(x)^gamma softplus(x), a negative costs f(x) and a positive f(-x), each times its weight. The slope
f'(x) = sigmoid(x)^(gamma + 1) + gamma (1 - sigmoid(x)) f(x) is computed along with the value. For a soft target t, with
e = sigmoid(x) - t and h = softplus(x) - t x, the loss is |e|^beta h, and its slope sign(e) |e|^(beta - 1) (beta
sigmoid(x) (1 - sigmoid(x)) h + e^2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from boxwright._util.devices import is_near
from boxwright.losses._labels import one_hot

# Elements per block: the temporaries stay within a processor's cache. A GPU prefers few, large kernels.
_BLOCK = 1 << 17

# Up to this many elements, calls cost more than what they compute.
_FEW = 1 << 15

# From here on softplus(x) equals x, even in float64.
_LINEAR = 40.0


def sigmoid_focal(
    logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float, rows: bool
) -> tuple[Tensor, Tensor]:
    """Compute values (N, K), or their sums (N,) if ``rows``, and slopes (N, K).

    targets are int64 (N,), the weights () or (K,).
    """
    if logits.numel() <= _FEW and is_near(logits):
        value, slope = _focal_of_few(logits, targets, positive, negative, gamma)
        value = value.sum(1) if rows else value
    else:

        def block(part: slice, slope: Tensor) -> Tensor:
            return _focal_block(logits[part], targets[part], positive, negative, gamma, slope)

        value, slope = _by_blocks(logits, block, rows)
    ignored = targets < 0
    if not is_near(logits):
        return value.masked_fill_(ignored if rows else ignored.unsqueeze(1), 0), slope.masked_fill_(
            ignored.unsqueeze(1), 0
        )
    few = ignored.nonzero().squeeze(1)
    return (value.index_fill_(0, few, 0), slope.index_fill_(0, few, 0)) if len(few) else (value, slope)


def quality_focal(logits: Tensor, targets: Tensor, beta: float, rows: bool) -> tuple[Tensor, Tensor]:
    """Compute values (N, K), or their sums (N,) if ``rows``, and slopes (N, K) for targets (N, K) in 0..1."""

    def block(part: slice, slope: Tensor) -> Tensor:
        return _quality_block(logits[part], targets[part], beta, slope)

    return _by_blocks(logits, block, rows)


def _by_blocks(logits: Tensor, block: Callable[[slice, Tensor], Tensor], rows: bool) -> tuple[Tensor, Tensor]:
    """Compute all values and slopes block by block.

    ``block`` returns the values of some rows and writes their slopes into the tensor it is given.
    """
    value = logits.new_empty(logits.shape[:1] if rows else logits.shape)
    slope = logits.new_empty(logits.shape)
    count, columns = logits.shape
    step = max(_BLOCK // columns if is_near(logits) else count, 1)
    for start in range(0, count, step):
        part = slice(start, start + step)
        elements = block(part, slope[part])
        if rows:
            torch.sum(elements, 1, out=value[part])
        else:
            value[part] = elements
    return value, slope


def _focal_of_few(
    logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float
) -> tuple[Tensor, Tensor]:
    """Compute values and slopes (n, K) in as few calls as possible, which cost more than the elements."""
    found = one_hot(targets, logits.shape[1], torch.bool)
    slope = torch.empty_like(logits)
    value = _focal(torch.where(found, -logits, logits), torch.where(found, positive, negative), gamma, slope)
    return value, torch.where(found, -slope, slope)


def _focal_block(
    logits: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, gamma: float, slope: Tensor
) -> Tensor:
    """Compute the values (n, K) of some rows and write their slopes to ``slope``."""
    value = _focal(logits, negative, gamma, slope)
    columns = logits.shape[1]
    found = (targets >= 0) & (targets < columns)
    # Where counting positives would wait for the device, every row is written; rows without a positive keep their
    # values.
    row = found.nonzero().squeeze(1) if is_near(found) else torch.arange(len(found), device=found.device)
    if len(row):
        column = targets[row].clamp(0, columns - 1)
        at = -logits[row, column]
        falling = torch.empty_like(at)
        rising = _focal(at, positive.expand(columns)[column], gamma, falling)
        value[row, column] = torch.where(found[row], rising, value[row, column])
        slope[row, column] = torch.where(found[row], -falling, slope[row, column])
    return value


def _focal(x: Tensor, weight: Tensor, gamma: float, slope: Tensor) -> Tensor:
    """Compute ``weight`` f(x) and write ``weight`` f'(x) to ``slope``."""
    p = x.sigmoid()
    factor = p.pow(gamma).mul_(weight)
    value = functional.softplus(x, threshold=_LINEAR).mul_(factor)
    torch.mul(factor, p, out=slope)
    slope.addcmul_(p.neg_().add_(1), value, value=gamma)
    return value


def _quality_block(x: Tensor, target: Tensor, beta: float, slope: Tensor) -> Tensor:
    """Compute the values (n, K) of some rows and write their slopes to ``slope``."""
    p = x.sigmoid()
    error = p - target
    value = functional.softplus(x, threshold=_LINEAR).addcmul_(x, target, value=-1)
    steep = error if beta == 2 else error.abs().pow_(beta - 1).mul_(error.sgn())
    p.addcmul_(p, p, value=-1).mul_(value)
    torch.mul(error, error, out=slope).add_(p, alpha=beta).mul_(steep)
    return value.mul_(steep).mul_(error)
