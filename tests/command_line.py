"""How a command ends that a test runs in its own process (the fixture is in ``conftest.py``)."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Outcome(NamedTuple):
    """The exit code, and what was printed."""

    code: int
    out: str
    err: str


class Boxwright(Protocol):
    """Runs ``boxwright`` with these arguments."""

    def __call__(self, *arguments: object) -> Outcome: ...
