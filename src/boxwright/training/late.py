"""Values copied from the device to the host while the device continues to work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Late(Generic[T]):
    """Values sent to the host and read when the device is busy with the next batch, so that nobody waits."""

    def __init__(self) -> None:
        self._sent: deque[tuple[Tensor, torch.Event | None, T]] = deque()

    def send(self, values: Tensor, of: T) -> None:
        """Start copying values, and keep what they belong to."""
        arrived = None
        host = values.detach().to("cpu", non_blocking=True)
        if values.device.type != "cpu":
            arrived = torch.Event(values.device)
            arrived.record()
        self._sent.append((host, arrived, of))

    def read(self) -> Iterator[tuple[Tensor, T]]:
        """Return and forget everything sent, in order; waits for copies that are not finished."""
        while self._sent:
            host, arrived, of = self._sent.popleft()
            if arrived is not None:
                arrived.synchronize()
            yield host, of
