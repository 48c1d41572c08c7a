"""Overlap of predictions with their targets, with slopes computed by hand next to the values: no autograd graph.

IoU and its penalties are functions of a few measures of a pair, each in x and y: the sides of the prediction (``own``),
of the part it shares with its target, and of the box ``around`` both, and the ``offset`` of the centers. Each term
returns its value and adds its slopes in these measures; ``Pair.slope`` turns them into slopes in the corners. Values
are bit for bit those of ``boxwright.boxes``, and its conventions hold: a vanishing denominator gives 0, and a side or
distance counts as 1e18 at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial

import torch
from torch import Tensor

from boxwright._util.devices import is_eager
from boxwright.boxes import LARGEST, VANISHING, OverlapKind, paired_iou
from boxwright.losses._slopes import WithSlope

Term = Callable[["Pair"], Tensor]
"""Computes a penalty (..., 1) of a pair and adds the slopes of its negative to the pair's."""


def overlap(pred: Tensor, target: Tensor, kind: OverlapKind = "iou") -> Tensor:
    """Compute ``paired_iou``, (..., 4) and (..., 4) -> (...), with a fast gradient in ``pred``.

    Raises:
        ValueError: As ``paired_iou`` does.
    """
    return iou_less(pred, target, partial(paired_iou, kind=kind), *_PENALTIES.get(kind, ()))


def iou_less(pred: Tensor, target: Tensor, expression: Callable[[Tensor, Tensor], Tensor], *penalties: Term) -> Tensor:
    """Compute ``expression(pred, target)``, (..., 4) and (..., 4) -> (...): IoU less the given penalties, in order.

    torch differentiates the expression itself where it is compiled, transformed, or differentiated in its target.
    """
    if not (pred.requires_grad and torch.is_grad_enabled() and is_eager(pred)) or target.requires_grad:
        return expression(pred, target)
    evaluate = partial(_evaluate, target=target, penalties=penalties)
    value: Tensor = WithSlope.apply(pred, evaluate, lambda boxes: expression(boxes, target))
    return value


def _evaluate(pred: Tensor, target: Tensor, penalties: tuple[Term, ...]) -> tuple[Tensor, Tensor]:
    """Compute overlaps (...) and slopes (..., 4)."""
    pair = Pair(pred, target)
    value = pair.iou
    for penalty in penalties:
        value = value - penalty(pair)
    return value.squeeze(-1), pair.slope()


class Pair:
    """Measures (..., 2) of predictions and their targets (..., 4), and the overlap's slopes in these measures."""

    def __init__(self, pred: Tensor, target: Tensor) -> None:
        self.pred, self.target = pred, target
        (self._first, self._last), (self._target_first, self._target_last) = pred.chunk(2, -1), target.chunk(2, -1)
        own = self._last - self._first
        shared = torch.minimum(self._last, self._target_last) - torch.maximum(self._first, self._target_first)
        self._flat, self._apart = own <= 0, shared <= 0
        self.own, self.shared = own.clamp_(0, LARGEST), shared.clamp_(0, LARGEST)
        self.wanted = (self._target_last - self._target_first).clamp_(0, LARGEST)

        area = _product(self.shared)  # (..., 1), as is everything below
        self.union = _product(self.own) + _product(self.wanted) - area
        self.iou, divisor = _quotient(area, self.union)
        self.in_area, self.in_union = divisor.reciprocal(), -self.iou / divisor
        self.in_own: Tensor | float = 0.0  # in addition to its effect through the union
        self.in_around: Tensor | float = 0.0
        self.in_offset: Tensor | float = 0.0

    @cached_property
    def around(self) -> Tensor:
        """Return the sides (..., 2) of the smallest box around both."""
        last, first = torch.maximum(self._last, self._target_last), torch.minimum(self._first, self._target_first)
        return (last - first).clamp_(-LARGEST, LARGEST)

    @cached_property
    def offset(self) -> Tensor:
        """Return the offset (..., 2) of the prediction's center from the target's."""
        centers = self._first + self._last - self._target_first - self._target_last
        return (centers / 2).clamp_(-LARGEST, LARGEST)

    def slope(self) -> Tensor:
        """Compute the overlap's slope (..., 4) in the prediction's corners.

        A corner inside its target moves the intersection, one outside moves the box around both; equal corners move
        either by half.
        """
        in_own = _plus(self.in_union * self.own.flip(-1), self.in_own).masked_fill_(self._flat, 0)
        in_shared = ((self.in_area - self.in_union) * self.shared.flip(-1)).masked_fill_(self._apart, 0)
        first, last = (self.pred - self.target).sign_().mul_(0.5).chunk(2, -1)
        widening = in_own.add_(_plus(in_shared, self.in_around), alpha=0.5)
        outside, moving = self.in_around - in_shared, 0.5 * self.in_offset
        return torch.cat([_plus(first * outside - widening, moving), _plus(last * outside + widening, moving)], -1)


def enclosing(pair: Pair) -> Tensor:
    """Compute ``boxes.enclosing_penalty``, (C - U) / C."""
    area = _product(pair.around)
    penalty, divisor = _quotient(area - pair.union, area)
    pair.in_union += 1 / divisor
    pair.in_around += (penalty - 1) / divisor * pair.around.flip(-1)
    return penalty


def center(pair: Pair) -> Tensor:
    """Compute ``boxes.center_penalty``, rho2 / c2."""
    distance, diagonal = _squared_length(pair.offset), _squared_length(pair.around)
    least = distance / 4
    penalty, divisor = _quotient(distance, torch.maximum(diagonal, least))
    pair.in_around += (2 * penalty / divisor).masked_fill_(diagonal < least, 0) * pair.around
    pair.in_offset -= 2 / divisor * pair.offset
    return penalty


def aspect(pair: Pair, gate: float = 0.0, scaled_gradient: bool = False) -> Tensor:
    """Compute ``boxes.aspect_penalty``, alpha v, with alpha constant in the slope."""
    (angle, squared), (wanted, _) = _aspect_angle(pair.own), _aspect_angle(pair.wanted)
    v = (4 / math.pi**2) * (angle - wanted) ** 2
    alpha, _ = _quotient(v, 1 - pair.iou + v)
    alpha.masked_fill_(~(pair.iou >= gate), 0)
    in_angle = (8 / math.pi**2) * alpha * (angle - wanted)
    width, height = pair.own.chunk(2, -1)
    turning = torch.cat([height, -width], -1)
    pair.in_own -= (in_angle if scaled_gradient else in_angle / squared) * turning
    return alpha * v


def sides(pair: Pair) -> Tensor:
    """Compute ``boxes.side_penalty``, dw^2 / cw^2 + dh^2 / ch^2."""
    difference = pair.own - pair.wanted
    penalties, divisor = _quotient(difference**2, pair.around**2)  # (..., 2)
    pair.in_own -= 2 / divisor * difference
    pair.in_around += 2 * penalties / divisor * pair.around
    return penalties.sum(-1, keepdim=True)


_PENALTIES: dict[str, tuple[Term, ...]] = {"giou": (enclosing,), "diou": (center,), "ciou": (center, aspect)}


def _plus(slope: Tensor, other: Tensor | float) -> Tensor:
    """Add what no penalty may have changed from 0."""
    return slope + other if isinstance(other, Tensor) else slope


def _product(measure: Tensor) -> Tensor:
    across, down = measure.chunk(2, -1)
    return across * down


def _squared_length(measure: Tensor) -> Tensor:
    across, down = measure.chunk(2, -1)
    return across * across + down * down


def _quotient(numerator: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor]:
    """Compute ``boxes.safe_ratio`` and the denominator of its slopes, which is infinite where it vanishes."""
    vanishing = ~(denominator > VANISHING)  # true for NaN too
    divisor = denominator.masked_fill(vanishing, math.inf)
    return numerator.masked_fill(vanishing, 0) / divisor, divisor


def _aspect_angle(measure: Tensor) -> tuple[Tensor, Tensor]:
    """Compute atan(w / h) of sides (..., 2) and w^2 + h^2; for a point the angle of a square, and infinity."""
    squared = _squared_length(measure)
    point = ~(squared > VANISHING)
    width, height = measure.masked_fill(point, 1).chunk(2, -1)
    return torch.atan2(width, height), squared.masked_fill_(point, math.inf)
