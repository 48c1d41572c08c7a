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

_MATCHES = {"gt_index": torch.int64, "state": torch.int8}  # iou may be of any floating type


def check_matches(matches: Any, part: Callable[..., Any], images: int, anchors: int) -> Matches:
    """Return a matcher's matches if they are (B, A) each, else raise ValueError."""
    if not isinstance(matches, Matches):
        raise ValueError(f"Expected {name_of(part)} to return Matches but got {_described(matches)}")
    for name, values in matches._asdict().items():
        floats = isinstance(values, Tensor) and values.is_floating_point()
        dtype = _MATCHES.get(name, values.dtype if floats else torch.float32)
        _check(values, part, (images, anchors), dtype, f"Matches with {name}", "(images, anchors)")
    return matches


def check_mask(mask: Any, part: Callable[..., Any], images: int, anchors: int) -> Tensor:
    """Return a miner's mask if it is a bool (B, A), else raise ValueError."""
    return _check(mask, part, (images, anchors), torch.bool, "a mask", "(images, anchors)")


def check_losses(losses: Any, part: Callable[..., Any], count: int, rows: str) -> Tensor:
    """Return the losses of ``count`` rows if there is one for each, else raise ValueError."""
    floats = isinstance(losses, Tensor) and losses.is_floating_point()
    return _check(losses, part, (count,), losses.dtype if floats else torch.float32, "losses", rows)


def _check(
    values: Any, part: Callable[..., Any], shape: tuple[int, ...], dtype: torch.dtype, what: str, axes: str
) -> Tensor:
    if isinstance(values, Tensor) and not is_eager(values):  # a compiler would have to compare sizes that it can't know
        return values
    if not isinstance(values, Tensor) or values.shape != shape or values.dtype != dtype:
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"Expected {name_of(part)} to return {what} {kind} {shape}, {axes}, but got {_described(values)}"
        )
    return values


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
