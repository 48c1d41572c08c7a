"""Devices that work beside the processor, which waits for them whenever it looks at a value."""

from __future__ import annotations

import torch
from torch import Tensor


def is_asynchronous(values: Tensor) -> bool:
    """Whether looking at the values waits for a device."""
    return values.device.type != "cpu"


def on_cpu(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors (n, ...), of numbers that float64 holds exactly, to the CPU in one go: each copy would wait."""
    if not is_asynchronous(tensors[0]):
        return list(tensors)
    together = torch.cat([values.double().flatten() for values in tensors]).cpu()
    parts = together.split([values.numel() for values in tensors])
    return [part.to(values.dtype).view_as(values) for part, values in zip(parts, tensors, strict=True)]
