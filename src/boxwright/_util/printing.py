"""Print text that holds names and messages of people's data: as it is, and harmless to a terminal."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, surrogates, separators of lines
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # what follows is shown elsewhere


def printable(text: str) -> str:
    r"""Escape what a terminal must not get: control characters (``\x1b``, ``\n``) and bytes that are not UTF-8."""
    if text.isprintable():
        return text
    return "".join(_escape(character) if _is_unseen(character) else character for character in text)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or character in _TURNING


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def is_screen(console: Console) -> bool:
    """Tell whether people look at a console: FORCE_COLOR colors what goes into a pipe, and makes no screen of it."""
    forced = any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
    return console.is_terminal and not (forced and not console.file.isatty())


def can_redraw(console: Console) -> bool:
    """Tell whether a line can be drawn again: on a screen that isn't a dumb terminal, and nobody asked for quiet."""
    return is_screen(console) and not console.is_dumb_terminal and not console.quiet


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print one line: not wrapped, nothing in it read as markup or emoji, control characters as escapes."""
    say_lines(console, [text], style)


def say_lines(console: Console, texts: Iterable[str], style: str | None = None) -> None:
    """Print lines, each as ``say`` does: thousands of them in a tenth of the time."""
    if lines := [_fitting(text, console) for text in texts]:
        console.print("\n".join(lines), style=style, highlight=False, soft_wrap=True, markup=False, emoji=False)


def say_table(
    console: Console,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    left: Iterable[int] = (0,),
    ruled: Iterable[int] = (),
) -> None:
    """Print a table whose cells are shown as ``say`` shows a line.

    ``left``: the columns that aren't numbers; ``ruled``: the rows with a line below them.
    """
    table = Table(title=None if title is None else Text(_fitting(title, console)), title_justify="left")
    left, ruled = set(left), set(ruled)
    for place, name in enumerate(header):
        table.add_column(Text(_fitting(name, console)), justify="left" if place in left else "right")
    for place, row in enumerate(rows):
        table.add_row(*(Text(_fitting(cell, console)) for cell in row), end_section=place in ruled)
    console.print(table)


def _fitting(text: str, console: Console) -> str:
    """Escape the characters that the console's encoding doesn't have."""
    return printable(text).encode(console.encoding, "backslashreplace").decode(console.encoding)
