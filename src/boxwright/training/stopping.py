"""Stopping a training cleanly by Ctrl-C or SIGTERM."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

from boxwright._util.stopping import Handlers, stop_by


class Interrupted(Exception):
    """The user asked to stop, and the last checkpoint is written."""


class CtrlC:
    """Turns the first SIGINT or SIGTERM into a request that the training checks between two steps; the second raises.

    ``say``: where to announce what it waits for.
    """

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        self.signal: int | None = None
        """The signal received."""
        self._say: Callable[[str], None] | None = say
        self._handlers = Handlers()

    @property
    def asked(self) -> bool:
        """Tell whether the training should end."""
        return self.signal is not None

    @property
    def error(self) -> KeyboardInterrupt:
        """Return the exception that a stopped training raises at its end."""
        return KeyboardInterrupt() if self.signal is None else stop_by(self.signal)

    def __enter__(self) -> CtrlC:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.take_back()

    def listen(self) -> None:
        """Handle the signals, unless one came. Lightning takes SIGTERM when it starts, so call this again then."""
        if not self.asked:
            self._handlers.set(self._ask)

    def announce(self, text: str) -> None:
        """Announce once when the training will end."""
        if self._say is not None:
            self._say(text)
            self._say = None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise stop_by(number)
        self.signal = number
