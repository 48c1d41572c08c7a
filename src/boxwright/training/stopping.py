"""How a training is stopped in order: by Ctrl-C, or by SIGTERM."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

from boxwright._util.stopping import Handlers, stop_by


class Interrupted(Exception):
    """The user asked to stop, and the last checkpoint is written."""


class CtrlC:
    """Turns the first SIGINT or SIGTERM into a question that the training answers between two steps; the second raises.

    ``say``: where to announce what it waits for.
    """

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        self.signal: int | None = None
        """The one that came."""
        self._say: Callable[[str], None] | None = say
        self._handlers = Handlers()

    @property
    def asked(self) -> bool:
        """Whether the training is to end."""
        return self.signal is not None

    @property
    def error(self) -> KeyboardInterrupt:
        """What a training that was asked to end raises when it has ended."""
        return KeyboardInterrupt() if self.signal is None else stop_by(self.signal)

    def __enter__(self) -> CtrlC:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.take_back()

    def listen(self) -> None:
        """Answer the signals, unless one came. Lightning takes SIGTERM for itself when it begins: ask again then."""
        if not self.asked:
            self._handlers.set(self._ask)

    def announce(self, text: str) -> None:
        """Say once when the training will end."""
        if self._say is not None:
            self._say(text)
            self._say = None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise stop_by(number)
        self.signal = number
