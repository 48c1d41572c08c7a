"""What every loss shares: its declared kind, full precision, and the reduction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Literal, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

from boxwright.boxes import at_least_float32

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

Reduction = Literal["none", "sum", "mean"]
ElementReduction = Literal["none", "rows", "sum", "mean"]
BoxSpace = Literal["boxes", "deltas"]
LossKind = Literal["boxes", "deltas", "distribution", "sigmoid", "softmax"]


@dataclass(frozen=True)
class LossInfo:
    """What a criterion needs to know of a loss before it calls it."""

    kind: LossKind
    """What the loss compares: boxes, deltas, distributions over bins; or logits of a sigmoid or softmax classifier."""
    soft_targets: bool = False
    """Classification by float targets (N, K), the quality of each positive, instead of class indices."""
    default_weight: float = 1.0
    """Its weight beside the classification loss where the recipe says nothing."""
    normalised: bool = False
    """Its elements add up to the loss of the batch: no count of anchors divides it."""
    state: Callable[..., Tensor | None] | None = None
    """``(classes, **bound options)`` -> what its ``state`` argument starts from; None: it has no such argument."""


def marked(info: LossInfo) -> Callable[[F], F]:
    """Attach ``info`` to a loss function."""

    def mark(function: F) -> F:
        function.__dict__["loss_info"] = info
        return function

    return mark


def box_loss(space: BoxSpace, default_weight: float = 1.0) -> Callable[[F], F]:
    """Mark a callable ``(pred, target) -> (N,)`` as a box loss on "boxes" (xyxy pixels) or on "deltas" (encoded).

    Raises ValueError for another space.
    """
    if space not in get_args(BoxSpace):
        raise ValueError(f"Expected a box loss's space out of {get_args(BoxSpace)} but got {space!r}")
    return marked(LossInfo(space, default_weight=default_weight))


def info(loss: Callable[..., Tensor]) -> LossInfo:
    """What a loss declared about itself; looks through ``functools.partial``. Raises ValueError if it didn't."""
    while isinstance(loss, partial):
        loss = loss.func
    found = getattr(loss, "loss_info", None)
    if not isinstance(found, LossInfo):
        raise ValueError(f"Expected a loss of boxwright or one marked by losses.box_loss(space=...) but got {loss!r}")
    return found


def initial_state(loss: Callable[..., Tensor], classes: int) -> Tensor | None:
    """What the ``state`` argument of a loss, options bound or not, starts from; None: the loss keeps nothing.

    A loss with a state takes it as a keyword and updates it in place. Raises ValueError as ``info`` does.
    """
    start = info(loss).state
    return None if start is None else start(classes, **getattr(loss, "keywords", {}))


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Run a loss in at least float32 with autocast off."""

    def raised(value: Any) -> Any:
        return at_least_float32(value) if isinstance(value, Tensor) and value.is_floating_point() else value

    @wraps(loss)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            return loss(*(raised(value) for value in args), **{name: raised(value) for name, value in kwargs.items()})

    return run


def reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    """``loss`` as it is, its sum, or its mean over all elements (0, still on the graph, when there is none).

    Raises ValueError for another reduction.
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.sum() / max(loss.numel(), 1)
    raise ValueError(f"Expected a reduction out of {get_args(Reduction)} but got {reduction!r}")


def reduce_elements(loss: Tensor, reduction: ElementReduction) -> Tensor:
    """``reduce`` for losses (N, K), with "rows": the sum over the classes, (N,)."""
    return loss.sum(-1) if reduction == "rows" else reduce(loss, reduction)


def power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` for a base of at least 0, whose gradient is finite at 0 for every exponent of at least 0."""
    return base.clamp(min=torch.finfo(base.dtype).tiny).pow(exponent) if exponent else torch.ones_like(base)
