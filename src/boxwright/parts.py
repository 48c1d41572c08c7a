"""How a part is declared: what a criterion, a recipe or a training must know about it before calling it.

A part is a plain function (or class) with one of the decorators below, whether boxwright's own or yours:

    @bw.box_loss(space="boxes", default_weight=2.0)
    def corner_loss(pred, target):  # (N, 4), (N, 4) -> (N,)
        return (pred - target).abs().mean(-1)

``part_info`` returns what a part has declared, also through ``functools.partial`` and ``functools.wraps``. Importing
this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from torch import Tensor

DECORATORS = {
    "class_loss": '@bw.class_loss(kind="softmax")',
    "box_loss": '@bw.box_loss(space="boxes")',
    "matcher": "@bw.matcher()",
    "miner": "@bw.miner()",
    "coder": "@bw.coder",
    "augment": "@bw.augmentation",
    "backbone": "@bw.backbone",
    "optimizer": "@bw.optimizer",
    "schedule": "@bw.schedule",
    "sampling": "@bw.sampling",
    "anchors": "@bw.anchor_spec",
    "reader": "@bw.reader()",
}
"""The decorator of each recipe key's parts."""

F = TypeVar("F", bound=Callable[..., Any])
Info = TypeVar("Info", bound="PartInfo")

ClassKind = Literal["softmax", "sigmoid"]
BoxSpace = Literal["boxes", "deltas", "distribution"]
Ranking = Literal["classification", "both", "nothing"]
BoxForm = Literal["corners", "size", "center"]
Need = Literal["scores", "predictions", "grid", "gt_index", "image_size", "class_counts"]


@dataclass(frozen=True)
class PartInfo:
    """Declaration of a part of any kind."""

    role: str
    """The recipe key that it can be a value of."""


@dataclass(frozen=True)
class ClassLossInfo(PartInfo):
    """Declaration of a classification loss, see ``class_loss``."""

    kind: ClassKind
    soft_targets: bool = False
    normalized: bool = False
    state: Callable[..., Tensor | None] | None = None
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class BoxLossInfo(PartInfo):
    """Declaration of a box loss, see ``box_loss``."""

    space: BoxSpace
    default_weight: float = 1.0
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class MatcherInfo(PartInfo):
    """Declaration of a matcher, see ``matcher``."""

    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class MinerInfo(PartInfo):
    """Declaration of a miner, see ``miner``."""

    ranks_by: Ranking = "classification"
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class ReaderInfo(PartInfo):
    """Declaration of a reader, see ``reader``."""

    form: BoxForm = "corners"
    fractions: bool = False
    classes: tuple[str, ...] = ()


def declare(info: PartInfo) -> Callable[[F], F]:
    """Return a decorator that attaches a declaration to a part."""

    def attach(part: F) -> F:
        """Attach the declaration."""
        part.part_info = info  # type: ignore[attr-defined]
        return part

    return attach


def class_loss(
    kind: ClassKind,
    soft_targets: bool = False,
    normalized: bool = False,
    state: Callable[..., Tensor | None] | None = None,
    needs: Sequence[Need] = (),
) -> Callable[[F], F]:
    """Declare a classification loss ``(logits (N, K'), targets, ...)``.

    Args:
        kind: "softmax" takes targets int64 (N,), K for background and -1 for ignored, and returns (N,); "sigmoid" is
            called with ``reduction="rows"`` and returns (N,), summed over its K columns.
        soft_targets: Targets are float (N, K): the IoU of each positive's prediction with its target.
        normalized: The losses already sum to that of the batch and are not divided.
        state: ``state(classes, **options)`` is the tensor that the loss takes as its keyword ``state`` and may change.
        needs: "class_counts": the keyword ``class_counts``, int64 (K,) boxes of each class in the training data.

    Examples:
        >>> @bw.class_loss(kind="sigmoid")
        ... def brier_loss(logits, targets, reduction="none"):
        ...     return ((logits.sigmoid() - targets) ** 2).sum(-1)
        >>> bw.part_info(brier_loss).role
        'class_loss'
    """
    _check("kind of a class loss", kind, get_args(ClassKind))
    return declare(ClassLossInfo("class_loss", kind, soft_targets, normalized, state, _needs(needs, "class_counts")))


def box_loss(space: BoxSpace, default_weight: float = 1.0, needs: Sequence[Need] = ()) -> Callable[[F], F]:
    """Declare a box loss ``(pred (N, 4), target (N, 4)) -> (N,)``.

    Args:
        space: What it compares: "boxes" (xyxy in pixels of the input) or "deltas" (encoded against the anchors);
            "distribution" is for losses of distributions over bins, which a criterion adds by itself.
        default_weight: Its weight relative to the classification loss if a recipe sets none.
        needs: "image_size": the keyword ``image_size``, the side of the input in pixels.

    Examples:
        >>> @bw.box_loss(space="boxes", default_weight=2.0)
        ... def corner_loss(pred, target):
        ...     return (pred - target).abs().mean(-1)
        >>> bw.part_info(corner_loss).space
        'boxes'
    """
    _check("space of a box loss", space, get_args(BoxSpace))
    return declare(BoxLossInfo("box_loss", space, default_weight, _needs(needs, "image_size")))


def matcher(needs: Sequence[Need] = ()) -> Callable[[F], F]:
    """Declare a matcher ``(anchors, boxes (B, G, 4), labels (B, G), *, ignore (B, G)) -> Matches``.

    Args:
        needs: "scores" and "predictions": keywords of these names, the network's scores (B, A, K) and decoded boxes (B,
            A, 4), without gradient; "grid": anchors on grids, so that it cannot match regions.
    """
    return declare(MatcherInfo("matcher", _needs(needs, "scores", "predictions", "grid")))


def miner(ranks_by: Ranking = "classification", needs: Sequence[Need] = ()) -> Callable[[F], F]:
    """Declare a miner ``(losses (B, A), state (B, A)) -> mask (B, A)``.

    Args:
        ranks_by: The losses that it gets: "classification", "both" with the positives' box losses added, or "nothing":
            it is then called with the state only.
        needs: "gt_index": the keyword ``gt_index``, int64 (B, A), the target that each positive answers for; not with
            "nothing".
    """
    _check("ranking of a miner", ranks_by, get_args(Ranking))
    return declare(MinerInfo("miner", ranks_by, _needs(needs, *(() if ranks_by == "nothing" else ("gt_index",)))))


def reader(form: BoxForm = "corners", fractions: bool = False, classes: Sequence[str] = ()) -> Callable[[F], F]:
    """Declare a reader ``(root) -> iterable of LabelledImage, or of tuples like it``, for data in a form of its own.

    Args:
        form: What the four numbers of a box are: "corners" (left, top, right, bottom), "size" (left, top, width,
            height) or "center" (its x and y, width, height).
        fractions: Whether they are fractions of the image, not pixels.
        classes: All classes, in label order; any other label is a finding. Empty: the labels that occur.
    """
    _check("form of a reader's boxes", form, get_args(BoxForm))
    return declare(ReaderInfo("reader", form, fractions, tuple(classes)))


def part_of(role: str) -> Callable[[F], F]:
    """Return a decorator for parts of the recipe key ``role`` that declare nothing else."""
    return declare(PartInfo(role))


coder = part_of("coder")
"""Declare a coder: a class with ``dim``, ``encode(anchors, boxes)`` and ``decode(anchors, deltas)``."""
augmentation = part_of("augment")
"""Declare an augmentation ``(image (H, W, 3) uint8, boxes (n, 4), labels (n,), rng) -> the same three``."""
backbone = part_of("backbone")
"""Declare what builds a backbone, see ``models.backbones.Backbone``."""
optimizer = part_of("optimizer")
"""Declare what makes an optimizer: ``(parameter groups, lr) -> torch.optim.Optimizer``."""
sampling = part_of("sampling")
"""Declare how often an epoch shows each image: ``(data set of n images) -> (n,) of at least 1``."""
anchor_spec = part_of("anchors")
"""Declare what makes anchors: ``(strides=...) -> AnchorSpec``."""
schedule = part_of("schedule")
"""Declare a schedule ``(share of the training that is done, 0..1) -> factor of the learning rate``."""


def part_info(part: Callable[..., Any]) -> PartInfo | None:
    """Return what a part, with or without bound options, has declared; None if nothing.

    Examples:
        >>> bw.part_info(bw.losses.giou_loss)
        BoxLossInfo(role='box_loss', space='boxes', default_weight=2.0, needs=())
    """
    while isinstance(part, partial):
        part = part.func
    found = getattr(part, "part_info", None)
    return found if isinstance(found, PartInfo) else None


def class_loss_info(loss: Callable[..., Any]) -> ClassLossInfo:
    """Return what a classification loss has declared; raises ValueError if it has declared nothing."""
    return _declared(loss, ClassLossInfo, "class_loss")


def box_loss_info(loss: Callable[..., Any]) -> BoxLossInfo:
    """Return what a box loss has declared; raises ValueError if it has declared nothing."""
    return _declared(loss, BoxLossInfo, "box_loss")


def matcher_info(part: Callable[..., Any]) -> MatcherInfo:
    """Return what a matcher has declared, by default no needs; raises ValueError for another kind of part."""
    return MatcherInfo("matcher") if part_info(part) is None else _declared(part, MatcherInfo, "matcher")


def miner_info(part: Callable[..., Any]) -> MinerInfo:
    """Return what a miner has declared, by default ranking by classification; raises ValueError for another kind."""
    return MinerInfo("miner") if part_info(part) is None else _declared(part, MinerInfo, "miner")


def reader_info(part: Callable[..., Any]) -> ReaderInfo:
    """Return what a reader has declared, by default corners in pixels; raises ValueError for another kind of part."""
    return ReaderInfo("reader") if part_info(part) is None else _declared(part, ReaderInfo, "reader")


def _declared(part: Callable[..., Any], kind: type[Info], role: str) -> Info:
    info = part_info(part)
    if isinstance(info, kind):
        return info
    what = "an undeclared part" if info is None else f"a part declared as {info.role}"
    raise ValueError(f"Expected a function declared by {DECORATORS[role]} but got {what}: {part!r}")


def _needs(needs: Sequence[Need], *allowed: Need) -> tuple[Need, ...]:
    _check_brackets(needs)
    for need in needs:
        _check("need", need, allowed)
    return tuple(needs)


def _check_brackets(option: object) -> None:
    if callable(option):
        raise ValueError(
            f"Expected options but got a function, {option!r}: write the decorator with brackets, @bw.name()"
        )


def _check(what: str, value: object, allowed: Sequence[object]) -> None:
    _check_brackets(value)
    if value not in allowed:
        raise ValueError(f"Expected the {what} to be one of {', '.join(map(repr, allowed))} but got {value!r}")


def name_of(function: Any) -> str:
    """Return ``module:function`` of a function with or without bound options."""
    while isinstance(function, partial):
        function = function.func
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}:{kind.__qualname__}"
