"""Requests to stop: SIGTERM is answered as Ctrl-C is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM was sent: what ends in order at Ctrl-C does so here too."""


def stop_by(number: int) -> KeyboardInterrupt:
    """Make the exception that answers a signal."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def stop_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Find the KeyboardInterrupt that an exception is, or came from: libraries turn it into exits."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


class Handlers:
    """Handlers of SIGINT and SIGTERM that can be taken back. Only a main thread can have any."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def set(self, handler: Any, *, keep: tuple[Any, ...] = ()) -> None:
        """Handle both signals, except one whose handler is in ``keep``."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before not in keep:
                self._before.setdefault(number, before)
                signal.signal(number, handler)

    def take_back(self) -> None:
        """Set those of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


@contextmanager
def stopping_in_order() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at SIGINT and Terminated at SIGTERM; yields the signals that came, in a list that grows.

    A signal that is ignored (in a shell's background) stays so.
    """
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise stop_by(number)

    handlers = Handlers()
    handlers.set(stop, keep=(signal.SIG_IGN, None))
    try:
        yield came
    finally:
        handlers.take_back()
