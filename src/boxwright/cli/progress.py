"""Progress of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def bar(what: str, console: Console) -> Iterator[Callable[..., None]]:
    """A bar that goes when the work is done, on a terminal; call it with the number done, and the total if that wasn't
    known.
    """
    if not console.is_terminal:
        yield lambda done, total=None: None
        return

    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def advance(done: int, total: int | None = None) -> None:
            progress.update(task, completed=done, total=total)

        yield advance
