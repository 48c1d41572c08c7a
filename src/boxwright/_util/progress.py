"""Progress of long work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from boxwright._util.printing import printable, say

_QUICK = 2.0
"""Seconds that work may take without a word where there is no terminal."""


@contextmanager
def bar(what: str, console: Console) -> Iterator[Callable[..., None]]:
    """Show how far work is: call it with the number done, and the total if that wasn't known.

    On a terminal a bar, which goes when the work is done; elsewhere one line on stderr, once the work takes more than
    two seconds.
    """
    if console.is_terminal:
        from rich.progress import Progress

        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(escape(printable(what)), total=None)
            yield lambda done, total=None: progress.update(task, completed=done, total=total)
    else:
        yield _one_line(what, Console(stderr=True, quiet=console.quiet))


def _one_line(what: str, console: Console) -> Callable[..., None]:
    started, said = time.monotonic(), False

    def advance(done: int, total: int | None = None) -> None:
        nonlocal said
        taken = time.monotonic() - started
        if not said and taken > _QUICK and done != total:
            said = True
            say(console, f"{what}: {done}{'' if total is None else f' of {total}'} after {taken:.0f} s")

    return advance
