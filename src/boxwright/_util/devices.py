"""Where tensors are, constants that get there without a wait, and autocast."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _is_any_autocast_enabled
from torch._subclasses import FakeTensor
from torch.compiler import is_compiling

_HOST = "cpu"


def is_eager(values: Tensor | torch.device) -> bool:
    """Tell whether a call runs as written: without compiler, export, functorch transform or fake tensor."""
    return not (is_compiling() or _are_functorch_transforms_active() or isinstance(values, FakeTensor))


def is_near(place: Tensor | torch.device) -> bool:
    """Tell whether values can be read without waiting for a device.

    Elsewhere the host would wait until the device, which runs behind it, has done all that was asked before; and where
    a call isn't eager, there is no answer.
    """
    device = place.device if isinstance(place, Tensor) else place
    return device.type == _HOST and is_eager(place)


def constants(values: Sequence[float], like: Tensor) -> Tensor:
    """Make a tensor (n,) of a few numbers where ``like`` is: filled there, since a copy from the host is a wait."""
    return torch.stack([like.new_full((), value) for value in values])


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the host and, if another, of a device.

    ``torch.manual_seed`` would visit all others too, which costs more than a small batch's losses.
    """
    torch.default_generator.manual_seed(seed)
    if not is_near(device):
        torch.get_device_module(device).manual_seed(seed)


def on_cpu(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors to the CPU in one go, byte by byte: each copy would wait."""
    if is_near(tensors[0]):
        return list(tensors)
    pieces = [values.contiguous().flatten().view(torch.uint8) for values in tensors]
    parts = torch.split(torch.cat(pieces).cpu(), [len(piece) for piece in pieces])
    # Each part is copied to a place of its own, where numbers of its type may lie.
    return [part.clone().view(values.dtype).view(values.shape) for part, values in zip(parts, tensors, strict=True)]


def may_autocast() -> bool:
    """Tell whether autocast may be on for any type of device; under a compiler always, as older ones can't ask."""
    return is_compiling() or _is_any_autocast_enabled()


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Turn autocast off for a type of device, in a context that costs nothing where none is on."""
    if is_compiling() or (_is_any_autocast_enabled() and torch.amp.is_autocast_available(device)):
        return torch.autocast(device, enabled=False)
    return nullcontext()
