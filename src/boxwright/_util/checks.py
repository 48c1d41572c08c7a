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

import numpy as np
import torch
from torch import Tensor

from boxwright._util.devices import is_near

AXES = ("image", "box")
"""Axes of a batch of targets."""

_SETTLED: ContextVar[bool] = ContextVar("settled", default=False)
# Width and height of boxes as one product. 0 x infinity is NaN: one minimum finds every box that is not sound.
_SIDES = torch.tensor([[-1.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]], device="cpu")


def is_visible(values: Tensor) -> bool:
    """Tell whether values can and still have to be checked."""
    return is_near(values) and not _SETTLED.get()  # in this order: older compilers know no such variables


@contextmanager
def settled() -> Iterator[None]:
    """Look at no values within: they were looked at."""
    before = _SETTLED.set(True)
    try:
        yield
    finally:
        _SETTLED.reset(before)


def has_area(boxes: Tensor) -> Tensor:
    """Tell which boxes (..., 4) are finite and have a width and a height, as a bool tensor (...)."""
    first, last = boxes.double().chunk(2, dim=-1)
    sides = last - first
    return ((sides > 0) & (sides < math.inf)).all(-1)


def are_sound(boxes: Tensor) -> bool:
    """Tell whether all boxes (..., 4), at least one, are finite and have an area."""
    quick = (_SIDES.to(boxes.dtype) @ boxes.reshape(-1, 4).t()).amin() > 0
    return bool(quick) or bool(has_area(boxes).all())


def check_labels(
    labels: Tensor,
    lowest: int,
    highest: int | None,
    note: str = "",
    axes: Sequence[str] = (),
    parts: Sequence[Tensor] = (),
) -> float | None:
    """Do as ``check_within``, and raise ValueError unless labels (...) are int64."""
    if labels.dtype != torch.int64:
        raise ValueError(f"Expected labels int64 but got {labels.dtype}: labels.long() converts integers")
    return check_within(labels, lowest, highest, "labels", axes, note=note, parts=parts)


def check_within(
    values: Tensor,
    low: float,
    high: float | None,
    what: str,
    axes: Sequence[str] = (),
    *,
    note: str = "",
    parts: Sequence[Tensor] = (),
) -> float | None:
    """Raise ValueError unless all values (...) are within ``low``..``high``; None: at least ``low``.

    ``note`` stands behind the range, ``axes`` name the dimensions of the place; ``parts``: what was concatenated.
    Returns the least value, None where values were not looked at.
    """
    if not is_visible(values) or not values.numel():
        return None
    values = values.detach()
    most = math.inf if high is None else high
    ends = [end.item() for end in values.aminmax()]  # in one pass
    if low <= ends[0] and ends[1] <= most:
        return ends[0]
    index = (~((values >= low) & (values <= most))).nonzero()[0].tolist()
    wanted = f"of at least {low}" if high is None else f"in {low}..{high}"
    place = _place(_split(index[0], parts) if parts else index, axes)
    raise ValueError(
        f"Expected {what} {wanted}{note} but got {ends[0]:.9g}..{ends[1]:.9g}, the first "
        f"{values[tuple(index)].item():.9g}{place}"
    )


def check_finite(values: Tensor, what: str) -> None:
    """Raise ValueError unless all values (N, ...) are finite."""
    if not is_visible(values) or math.isfinite(values.detach().sum().item()):
        return
    bad = ~values.detach().isfinite()
    if bad.any():  # else only the sum is out of range
        row = int(bad.reshape(len(bad), -1).any(1).nonzero()[0])
        raise ValueError(f"Expected finite {what} but got {values[row].tolist()} at index {row}")


def check_boxes(boxes: Tensor) -> None:
    """Raise ValueError unless target boxes (..., 4) are finite and have an area."""
    if boxes.shape[-1:] != (4,):
        raise ValueError(f"Expected boxes (..., 4) but got {tuple(boxes.shape)}")
    if not is_visible(boxes) or not boxes.numel():
        return
    boxes = boxes.detach()
    if not are_sound(boxes):
        raise _unsound(boxes, (~has_area(boxes)).nonzero()[0].tolist())


def check_targets(boxes: Tensor, labels: Tensor, ignore: Tensor | None, classes: int | None = None) -> bool:
    """Raise ValueError unless boxes (B, G, 4), int64 labels (B, G) and ignore bool (B, G) are targets of a batch.

    Returns whether their values were looked at, now or before, so that they are known to be. Labels are -1 for padding,
    else in 0..``classes`` - 1. Boxes with a label are finite and, if not ignored, have an area; what padding holds
    doesn't matter.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or labels.shape != boxes.shape[:2]:
        raise ValueError(
            f"Expected boxes (B, G, 4) and labels (B, G) but got {tuple(boxes.shape)} and {tuple(labels.shape)}"
        )
    if ignore is not None and (ignore.shape != labels.shape or ignore.dtype != torch.bool):
        raise ValueError(f"Expected ignore bool {tuple(labels.shape)} but got {ignore.dtype} {tuple(ignore.shape)}")
    if is_near(boxes) and _SETTLED.get():
        return True
    if labels.dtype != torch.int64 or not is_visible(boxes) or not boxes.numel():
        check_labels(labels, -1, None if classes is None else classes - 1, " (-1 is padding)", AXES)
        return False
    # NumPy's calls cost less than torch's, and targets are few.
    corners = (boxes.float() if boxes.dtype == torch.bfloat16 else boxes).detach().numpy()
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


def _unsound(boxes: Tensor, place: list[int], axes: Sequence[str] = ()) -> ValueError:
    box = boxes[tuple(place)]
    wanted = "with a width and a height" if box.isfinite().all() else "of finite numbers"
    return ValueError(f"Expected target boxes {wanted} but got {box.tolist()}{_place(place, axes)}")


def _split(index: int, parts: Sequence[Tensor]) -> list[int]:
    """Find the part that an index into their concatenation falls into, and the index within it."""
    part = 0
    while index >= len(parts[part]):
        index -= len(parts[part])
        part += 1
    return [part, index]


def _place(index: Sequence[int], axes: Sequence[str]) -> str:
    """Name the element: " at image 0, box 3", or " at index 3" if the axes have no names."""
    if len(axes) == len(index):
        named = ", ".join(f"{axis} {number}" for axis, number in zip(axes, index, strict=True))
        return f" at {named}" if named else ""
    return f" at index {index[0] if len(index) == 1 else tuple(index)}"
