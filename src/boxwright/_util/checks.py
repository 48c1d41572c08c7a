"""Checks of the values that people hand in: the same for losses, matchers, miners, coders, criteria and adapters.

Types and shapes are checked always, values in eager calls on the CPU alone: elsewhere looking at them would wait for
the device (CUDA), break the graph (torch.compile, torch.export) or have no answer (vmap, torch.func). What calls
several of these looks once, and runs the others under ``settled``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from boxwright._util.devices import on_host

AXES = ("image", "box")
"""Of a batch of targets."""

_SETTLED: ContextVar[bool] = ContextVar("settled", default=False)
# Width and height of boxes as one product. 0 x infinity is NaN: one minimum finds every box that is not sound.
_SIDES = torch.tensor([[-1.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]], device="cpu")


def is_eager(values: Tensor) -> bool:
    """Whether a call runs as it is written: no compiler, export, functorch transform or fake tensor is at work."""
    return not (
        torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or isinstance(values, FakeTensor)
    )


def is_near(values: Tensor) -> bool:
    """Whether values can be looked at, at no cost but their own."""
    return on_host(values) and is_eager(values)


def is_visible(values: Tensor) -> bool:
    """Whether values are to be looked at: they can be, and weren't yet."""
    return is_near(values) and not _SETTLED.get()  # in this order: older compilers know no such variables


def none_near(mask: Tensor) -> bool:
    """Whether a mask (...) is known to hold nowhere: never where knowing it would wait for a device."""
    return is_near(mask) and not mask.any()


def all_near(mask: Tensor) -> bool:
    """Whether a mask (...) is known to hold everywhere: never where knowing it would wait for a device."""
    return is_near(mask) and bool(mask.all())


@contextmanager
def settled() -> Iterator[None]:
    """Look at no values within: they were looked at."""
    before = _SETTLED.set(True)
    try:
        yield
    finally:
        _SETTLED.reset(before)


def has_area(boxes: Tensor) -> Tensor:
    """(...) bool: the boxes (..., 4) that are finite and have a width and a height."""
    first, last = boxes.double().chunk(2, dim=-1)
    sides = last - first
    return ((sides > 0) & (sides < math.inf)).all(-1)


def are_sound(boxes: Tensor) -> bool:
    """Whether all boxes (..., 4), at least one, are finite and have an area."""
    quick = (_SIDES.to(boxes.dtype) @ boxes.reshape(-1, 4).t()).amin() > 0
    return bool(quick) or bool(has_area(boxes).all())


def check_labels(
    labels: Tensor,
    lowest: int,
    highest: int | None,
    note: str = "",
    axes: Sequence[str] = (),
    parts: Sequence[Tensor] = (),
) -> None:
    """Raise ValueError unless labels (...) are int64 within ``lowest``..``highest``; None: of at least ``lowest``.

    ``note`` stands behind the range, ``axes`` name the dimensions of the place; ``parts``: what was concatenated.
    """
    if labels.dtype != torch.int64:
        raise ValueError(f"Expected labels int64 but got {labels.dtype}: labels.long() converts integers")
    found = _outside(labels, lowest, math.inf if highest is None else highest)
    if found:
        wanted = f"of at least {lowest}" if highest is None else f"in {lowest}..{highest}"
        place = _place(_split(found.place[0], parts) if parts else found.place, axes)
        raise ValueError(f"Expected labels {wanted}{note} but got {found.text}{place}")


def check_within(values: Tensor, low: float, high: float, what: str, axes: Sequence[str] = ()) -> None:
    """Raise ValueError unless all values (...) are within ``low``..``high``."""
    found = _outside(values, low, high)
    if found:
        raise ValueError(f"Expected {what} in {low}..{high} but got {found.text}{_place(found.place, axes)}")


def check_finite(values: Tensor, what: str) -> None:
    """Raise ValueError unless all values (N, ...) are finite."""
    if not is_visible(values) or values.detach().sum().isfinite():
        return
    bad = ~values.detach().isfinite()
    if bad.any():  # else only the sum is out of range
        row = int(bad.reshape(len(bad), -1).any(1).nonzero()[0])
        raise ValueError(f"Expected finite {what} but got {values[row].tolist()} at index {row}")


def check_boxes(boxes: Tensor) -> None:
    """Raise ValueError unless target boxes (..., 4) are finite and have an area."""
    if boxes.shape[-1:] != (4,):
        raise ValueError(f"Expected boxes (..., 4) but got {tuple(boxes.shape)}")
    if not boxes.numel() or not is_visible(boxes):
        return
    boxes = boxes.detach()
    if not are_sound(boxes):
        raise _unsound(boxes, (~has_area(boxes)).nonzero()[0].tolist())


def check_targets(boxes: Tensor, labels: Tensor, ignore: Tensor | None, classes: int | None = None) -> bool:
    """Raise ValueError unless boxes (B, G, 4), int64 labels (B, G) and ignore bool (B, G) are targets of a batch.

    Returns whether their values were looked at, now or before, so that they are known to be.
    Labels are -1 for padding, else in 0..``classes`` - 1. Boxes with a label are finite and, if not ignored, have an
    area; what padding holds doesn't matter.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or labels.shape != boxes.shape[:2]:
        raise ValueError(
            f"Expected boxes (B, G, 4) and labels (B, G) but got {tuple(boxes.shape)} and {tuple(labels.shape)}"
        )
    if ignore is not None and (ignore.shape != labels.shape or ignore.dtype != torch.bool):
        raise ValueError(f"Expected ignore bool {tuple(labels.shape)} but got {ignore.dtype} {tuple(ignore.shape)}")
    if is_near(boxes) and _SETTLED.get():
        return True
    if labels.dtype != torch.int64 or not boxes.numel() or not is_visible(boxes):
        check_labels(labels, -1, None if classes is None else classes - 1, " (-1 is padding)", AXES)
        return False
    # NumPy's calls cost less than torch's, and targets are few.
    corners = boxes.detach().to(torch.float32 if boxes.dtype == torch.bfloat16 else boxes.dtype).numpy()
    classes_of = labels.numpy()
    if classes_of.min() < -1 or (classes is not None and classes_of.max() >= classes):
        check_labels(labels, -1, None if classes is None else classes - 1, " (-1 is padding)", AXES)
    if np.isfinite(corners).all() and (corners[..., 2:] > corners[..., :2]).all():
        return True
    real = classes_of >= 0
    counted = real if ignore is None else real & ~ignore.numpy()
    finite = np.isfinite(corners).all(-1)
    bad = (real & ~finite) | (counted & ~(corners[..., 2:] > corners[..., :2]).all(-1))
    if bad.any():
        raise _unsound(boxes, np.argwhere(bad)[0].tolist(), AXES)
    return True


class _Outside(NamedTuple):
    text: str
    """The range of all values, and the first that lies outside of what is wanted."""
    place: list[int]


def _outside(values: Tensor, low: float, high: float) -> _Outside | None:
    """The first value that isn't within ``low``..``high``."""
    if not values.numel() or not is_visible(values):
        return None
    values = values.detach()
    least, most = (end.item() for end in values.aminmax())  # in one pass
    if low <= least and most <= high:
        return None
    place = (~((values >= low) & (values <= high))).nonzero()[0].tolist()
    return _Outside(f"{least:.9g}..{most:.9g}, the first {values[tuple(place)].item():.9g}", place)


def _unsound(boxes: Tensor, place: list[int], axes: Sequence[str] = ()) -> ValueError:
    box = boxes[tuple(place)]
    wanted = "with a width and a height" if box.isfinite().all() else "of finite numbers"
    return ValueError(f"Expected target boxes {wanted} but got {box.tolist()}{_place(place, axes)}")


def _split(index: int, parts: Sequence[Tensor]) -> list[int]:
    """The part that an index into the concatenation of all lies in, and its place there."""
    part = 0
    while index >= len(parts[part]):
        index -= len(parts[part])
        part += 1
    return [part, index]


def _place(index: Sequence[int], axes: Sequence[str]) -> str:
    """ " at image 0, box 3", or " at index 3" where the axes have no names."""
    if len(axes) == len(index):
        named = ", ".join(f"{axis} {number}" for axis, number in zip(axes, index, strict=True))
        return f" at {named}" if named else ""
    return f" at index {index[0] if len(index) == 1 else tuple(index)}"
