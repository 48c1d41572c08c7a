"""How a part is declared: what a criterion, a recipe or a training must know of it before it calls it.

A part is a plain function (or class) with one of the decorators below, boxwright's own and anyone's alike:

    @bw.box_loss(space="boxes", default_weight=2.0)
    def corner_loss(pred, target):  # (N, 4), (N, 4) -> (N,)
        return (pred - target).abs().mean(-1)

``part_info`` tells what a part has declared, also through ``functools.partial`` and ``functools.wraps``. Importing this
module imports no torch.
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
"""What declares a part for a recipe key."""

F = TypeVar("F", bound=Callable[..., Any])
Info = TypeVar("Info", bound="PartInfo")

ClassKind = Literal["softmax", "sigmoid"]
BoxSpace = Literal["boxes", "deltas", "distribution"]
Ranking = Literal["classification", "both", "nothing"]
BoxForm = Literal["corners", "size", "center"]
Need = Literal["scores", "predictions", "grid", "gt_index", "image_size", "class_counts"]


@dataclass(frozen=True)
class PartInfo:
    """What a part declares, whatever it is for."""

    role: str
    """The recipe key whose value it can be."""


@dataclass(frozen=True)
class ClassLossInfo(PartInfo):
    """What a classification loss declares, see ``class_loss``."""

    kind: ClassKind
    soft_targets: bool = False
    normalized: bool = False
    state: Callable[..., Tensor | None] | None = None
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class BoxLossInfo(PartInfo):
    """What a box loss declares, see ``box_loss``."""

    space: BoxSpace
    default_weight: float = 1.0
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class MatcherInfo(PartInfo):
    """What a matcher declares, see ``matcher``."""

    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class MinerInfo(PartInfo):
    """What a miner declares, see ``miner``."""

    ranks_by: Ranking = "classification"
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class ReaderInfo(PartInfo):
    """What a reader declares, see ``reader``."""

    form: BoxForm = "corners"
    fractions: bool = False
    classes: tuple[str, ...] = ()


def declare(info: PartInfo) -> Callable[[F], F]:
    """Attach what a part declares to it."""

    def attach(part: F) -> F:
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
        kind: "softmax" takes targets int64 (N,), K for background and -1 for ignored, and answers (N,); "sigmoid" is
            called with ``reduction="rows"`` and answers (N,), summed over its K columns.
        soft_targets: targets are float (N, K): the IoU of each positive's prediction with its target.
        normalized: the losses add up to that of the batch, and nothing divides them.
        state: ``state(classes, **options)`` is the tensor that the loss takes as its keyword ``state``, and may change.
        needs: "class_counts": the keyword ``class_counts``, int64 (K,) boxes of each class in the training data.

    Raises ValueError for another kind or need.
    """
    _check("kind of a class loss", kind, get_args(ClassKind))
    return declare(ClassLossInfo("class_loss", kind, soft_targets, normalized, state, _needs(needs, "class_counts")))


def box_loss(space: BoxSpace, default_weight: float = 1.0, needs: Sequence[Need] = ()) -> Callable[[F], F]:
    """Declare a box loss ``(pred (N, 4), target (N, 4)) -> (N,)``.

    Args:
        space: what it compares: "boxes" (xyxy in pixels of the input) or "deltas" (encoded against the anchors);
            "distribution" is for losses of distributions over bins, which a criterion adds by itself.
        default_weight: its weight beside the classification loss where a recipe says nothing.
        needs: "image_size": the keyword ``image_size``, the side of the input in pixels.

    Raises ValueError for another space or need.
    """
    _check("space of a box loss", space, get_args(BoxSpace))
    return declare(BoxLossInfo("box_loss", space, default_weight, _needs(needs, "image_size")))


def matcher(needs: Sequence[Need] = ()) -> Callable[[F], F]:
    """Declare a matcher ``(anchors, boxes (B, G, 4), labels (B, G), *, ignore (B, G)) -> Matches``.

    Args:
        needs: "scores" and "predictions": keywords of these names, the network's scores (B, A, K) and decoded boxes
            (B, A, 4), without gradient; "grid": anchors that stand on grids, so that it can't match regions.

    Raises ValueError for another need.
    """
    return declare(MatcherInfo("matcher", _needs(needs, "scores", "predictions", "grid")))


def miner(ranks_by: Ranking = "classification", needs: Sequence[Need] = ()) -> Callable[[F], F]:
    """Declare a miner ``(losses (B, A), state (B, A)) -> mask (B, A)``.

    Args:
        ranks_by: the losses that it gets: "classification", "both" with the positives' box losses added, or "nothing":
            then it is called with the state alone.
        needs: "gt_index": the keyword ``gt_index``, int64 (B, A), which target each positive answers for; not with
            "nothing".

    Raises ValueError for another ranking or need.
    """
    _check("ranking of a miner", ranks_by, get_args(Ranking))
    return declare(MinerInfo("miner", ranks_by, _needs(needs, *(() if ranks_by == "nothing" else ("gt_index",)))))


def reader(form: BoxForm = "corners", fractions: bool = False, classes: Sequence[str] = ()) -> Callable[[F], F]:
    """Declare a reader ``(root) -> iterable of LabelledImage, or of tuples like it``, of data in a form of its own.

    Args:
        form: what the four numbers of a box are: "corners" (left, top, right, bottom), "size" (left, top, width,
            height) or "center" (its x and y, width, height).
        fractions: whether they are fractions of the image, not pixels.
        classes: all classes, in label order; a label that is none of them is a finding. Empty: the labels that occur.

    Raises ValueError for another form.
    """
    _check("form of a reader's boxes", form, get_args(BoxForm))
    return declare(ReaderInfo("reader", form, fractions, tuple(classes)))


def part_of(role: str) -> Callable[[F], F]:
    """Declare a part that says nothing more of itself than the recipe key ``role`` that it is for."""
    return declare(PartInfo(role))


coder = part_of("coder")
"""Declare a coder: a class with ``size``, ``encode(anchors, boxes)`` and ``decode(anchors, deltas)``."""
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
    """What a part, options bound or not, has declared; None: nothing."""
    while isinstance(part, partial):
        part = part.func
    found = getattr(part, "part_info", None)
    return found if isinstance(found, PartInfo) else None


def class_loss_info(loss: Callable[..., Any]) -> ClassLossInfo:
    """What a classification loss has declared. Raises ValueError where it hasn't."""
    return _declared(loss, ClassLossInfo, "class_loss")


def box_loss_info(loss: Callable[..., Any]) -> BoxLossInfo:
    """What a box loss has declared. Raises ValueError where it hasn't."""
    return _declared(loss, BoxLossInfo, "box_loss")


def matcher_info(part: Callable[..., Any]) -> MatcherInfo:
    """What a matcher has declared; nothing: that it needs nothing. Raises ValueError for another kind of part."""
    return MatcherInfo("matcher") if part_info(part) is None else _declared(part, MatcherInfo, "matcher")


def miner_info(part: Callable[..., Any]) -> MinerInfo:
    """What a miner has declared; nothing: that it ranks by classification. Raises ValueError for another kind."""
    return MinerInfo("miner") if part_info(part) is None else _declared(part, MinerInfo, "miner")


def reader_info(part: Callable[..., Any]) -> ReaderInfo:
    """What a reader has declared; nothing: corners in pixels. Raises ValueError for another kind of part."""
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
    """``module:function``, options bound or not."""
    while isinstance(function, partial):
        function = function.func
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}:{kind.__qualname__}"
