"""What every loss shares: full precision, its state and its reduction."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, ParamSpec, get_args

import torch
from torch import Tensor

from boxwright._util.devices import may_autocast, without_autocast
from boxwright.boxes import at_least_float32
from boxwright.parts import class_loss_info

P = ParamSpec("P")

Reduction = Literal["none", "sum", "mean"]
ElementReduction = Literal["none", "rows", "sum", "mean"]

# Types in which a loss computes without converting.
_FULL = frozenset({torch.float32, torch.float64, torch.int64})


def initial_state(loss: Callable[..., Tensor], classes: int | None) -> Tensor | None:
    """Return what the ``state`` argument of a class loss starts from, or None for a loss without one.

    A loss with a state takes it as a keyword and updates it in place. ``loss`` may have options bound by ``partial``.

    Raises:
        ValueError: If the loss is not declared, or its state needs the number of ``classes`` and that is None.

    Examples:
        >>> bw.losses.initial_state(bw.losses.seesaw_loss, classes=3)
        tensor([0, 0, 0])
    """
    start = class_loss_info(loss).state
    state = None if start is None else start(classes or 0, **getattr(loss, "keywords", {}))
    if state is not None and classes is None:
        raise ValueError("Expected num_classes with a class loss that keeps a state")
    return state


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss so that it runs in at least float32 with autocast off."""

    @wraps(loss)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        values = (*args, *kwargs.values())
        if not may_autocast() and _FULL.issuperset([value.dtype for value in values if isinstance(value, Tensor)]):
            return loss(*args, **kwargs)
        device = next(value.device.type for value in values if isinstance(value, Tensor))
        with without_autocast(device):
            return loss(*map(_raised, args), **{name: _raised(value) for name, value in kwargs.items()})

    return run


def _raised(value: Any) -> Any:
    return at_least_float32(value) if isinstance(value, Tensor) and value.is_floating_point() else value


def reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    """Return ``loss`` as it is, its sum, or its mean over all elements (0, still on the graph, if there are none).

    Raises:
        ValueError: If ``reduction`` is unknown.
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.sum() / max(loss.numel(), 1)
    raise ValueError(f"Expected a reduction out of {get_args(Reduction)} but got {reduction!r}")


def reduce_elements(loss: Tensor, reduction: ElementReduction) -> Tensor:
    """Apply ``reduce`` to losses (N, K); "rows" sums over the classes, (N,)."""
    return loss.sum(-1) if reduction == "rows" else reduce(loss, reduction)


def power(base: Tensor, exponent: float) -> Tensor:
    """Compute ``base ** exponent`` for non-negative values with a gradient that is finite at base 0."""
    return base.clamp(min=torch.finfo(base.dtype).tiny).pow(exponent) if exponent else torch.ones_like(base)
