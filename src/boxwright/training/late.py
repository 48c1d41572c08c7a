"""Values that go from the device to the host while it hands out further work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Late(Generic[T]):
    """What was sent to the host, to be read when the device is busy with the next batch: then nobody waits."""

    def __init__(self) -> None:
        self._sent: deque[tuple[Tensor, torch.Event | None, T]] = deque()

    def send(self, values: Tensor, of: T) -> None:
        """Send values on their way, and keep what they are ``of``."""
        arrived = None
        host = values.detach().to("cpu", non_blocking=True)
        if values.device.type != "cpu":
            arrived = torch.Event(values.device)
            arrived.record()
        self._sent.append((host, arrived, of))

    def read(self) -> Iterator[tuple[Tensor, T]]:
        """Give and forget what was sent, in that order; it waits for what is still on its way."""
        while self._sent:
            host, arrived, of = self._sent.popleft()
            if arrived is not None:
                arrived.synchronize()
            yield host, of
