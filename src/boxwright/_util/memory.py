"""Memory that runs out: what libraries raise then, and one line in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boxwright.errors import BoxwrightError

_WORDS = ("allocate memory", "out of memory", "not enough memory", "Unable to allocate", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that the machine or a GPU is out of memory."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in _WORDS)


@contextmanager
def out_of_memory(what: str, cure: str) -> Iterator[None]:
    """Turn what is raised for want of memory into a BoxwrightError that names ``what`` took it, and the cure."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise BoxwrightError(f"out of memory: {what}: {cure}") from error
