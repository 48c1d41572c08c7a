"""Progress of long work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.markup import escape

from boxwright._util.printing import can_redraw, printable, say

_QUICK = 2.0
"""Seconds that work may take without a word where there is no terminal."""
_LONGEST_SILENCE = 600.0
"""Seconds after which there is a line in any case."""


@contextmanager
def bar(what: str, console: Console) -> Iterator[Callable[..., None]]:
    """Show how far work is: call it with the number done, and the total if that wasn't known.

    On a terminal a bar, which goes when the work is done; in a notebook a line that changes; elsewhere, once the work
    takes more than two seconds, a line on stderr whenever the time has doubled, and each ten minutes.
    """
    if can_redraw(console):
        from rich.progress import Progress

        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(escape(printable(what)), total=None)
            yield lambda done, total=None: progress.update(task, completed=done, total=total)
    elif console.is_jupyter and not console.quiet:
        with changing_line() as show:
            yield _lines(what, show, lambda taken: 1.0)
    else:
        stderr = Console(stderr=True, quiet=console.quiet)
        yield _lines(what, partial(say, stderr), lambda taken: min(taken, _LONGEST_SILENCE))


def _lines(what: str, show: Callable[[str], None], pause: Callable[[float], float]) -> Callable[..., None]:
    """Make what shows a line after ``_QUICK`` seconds, and then after each ``pause`` of the time taken."""
    started, due = time.monotonic(), _QUICK

    def advance(done: int, total: int | None = None) -> None:
        nonlocal due
        taken = time.monotonic() - started
        if taken > due and done != total:
            due = taken + pause(taken)
            show(f"{what}: {done}{'' if total is None else f' of {total}'} after {taken:.0f} s")

    return advance


@contextmanager
def changing_line() -> Iterator[Callable[[str], None]]:
    """Give what shows a text in a notebook's output in place of the one before; it goes in the end."""
    line: Any = None

    def show(text: str) -> None:
        nonlocal line
        content = {"text/plain": printable(text)}
        if line is None:
            line = import_module("IPython.display").DisplayHandle()
            line.display(content, raw=True)
        else:
            line.update(content, raw=True)

    try:
        yield show
    finally:
        if line is not None:
            show("")
