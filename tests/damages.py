"""What can happen to a file that boxwright wrote, and how a command must end that meets it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from command_line import Outcome

NUMBER = re.compile(rb"(?<=[:, ])-?\d[\d.]*(?=[,\n\]} ])")
DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "empty": lambda path, _: path.write_bytes(b""),
    "truncated": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "garbage": lambda path, _: path.write_bytes(bytes(range(256)) * 8),
    "list": lambda path, _: path.write_bytes(b"[]"),
    "NaN": lambda path, whole: path.write_bytes(NUMBER.sub(b"NaN", whole[:4000])),
    "UTF-16": lambda path, whole: path.write_bytes(whole[:4000].decode("latin-1").encode("utf-16")),
    "folder": lambda path, _: path.mkdir(),
    "pipe": lambda path, _: os.mkfifo(path),
}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """A command that waits for a pipe is stopped, and fails the test."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    handler = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def is_one_line(outcome: Outcome, name: str) -> bool:
    lines = [line for line in outcome.err.splitlines() if not line.startswith("boxwright: warning: ")]
    return len(lines) == 1 and lines[0].startswith("boxwright: ") and name in lines[0]
