"""What the parts of a criterion return is of the right type and shape, or an error names the part.

A loss that returns its mean would be broadcast without a word, and a mask that is too short would fail far away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from boxwright._util.devices import is_eager
from boxwright.parts import name_of
from boxwright.types import Matches

_MATCHES = {"gt_index": torch.int64, "state": torch.int8, "iou": None}


def check_matches(matches: Any, part: Callable[..., Any], images: int, anchors: int) -> Matches:
    """Return a matcher's matches if they are (B, A) each, else raise ValueError."""
    if not isinstance(matches, Matches):
        raise ValueError(f"Expected {name_of(part)} to return Matches but got {_described(matches)}")
    for (name, dtype), values in zip(_MATCHES.items(), matches, strict=True):
        _check(values, part, (images, anchors), dtype, f"Matches with {name}", "(images, anchors)")
    return matches


def check_indices(matches: Matches, part: Callable[..., Any], labels: Tensor) -> None:
    """Raise ValueError unless states are -1, 0 or 1, and positives have a target with a label (B, G); reads values."""
    index, state, _ = matches
    image, anchor = (state == 1).nonzero(as_tuple=True)
    target = index[image, anchor]
    within = ((target >= 0) & (target < labels.shape[1])).all()
    if ((state < -1) | (state > 1)).any() or not within or (labels[image, target] < 0).any():
        raise ValueError(
            f"Expected {name_of(part)} to return a state of -1, 0 or 1 and, where that is 1, the index of a target "
            f"that isn't padding, but got the states {state.tolist()} with the indices {index.tolist()} for the labels "
            f"{labels.tolist()}"
        )


def check_mask(mask: Any, part: Callable[..., Any], images: int, anchors: int) -> Tensor:
    """Return a miner's mask if it is a bool (B, A), else raise ValueError."""
    return _check(mask, part, (images, anchors), torch.bool, "a mask", "(images, anchors)")


def check_losses(losses: Any, part: Callable[..., Any], count: int, rows: str) -> Tensor:
    """Return the losses of ``count`` rows if there is one for each, else raise ValueError."""
    return _check(losses, part, (count,), None, "losses", rows)


def _check(
    values: Any, part: Callable[..., Any], shape: tuple[int, ...], dtype: torch.dtype | None, what: str, axes: str
) -> Tensor:
    """Raise ValueError unless it is a tensor of this shape and type; None: any floating type."""
    if isinstance(values, Tensor):
        if not is_eager(values):  # a compiler would have to compare sizes that it can't know
            return values
        fits = values.is_floating_point() if dtype is None else values.dtype == dtype
        if fits and values.shape == shape:
            return values
    kind = _name(dtype or torch.float32)
    raise ValueError(f"Expected {name_of(part)} to return {what} {kind} {shape}, {axes}, but got {_described(values)}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _described(value: Any) -> str:
    return f"{_name(value.dtype)} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
