"""Print text that holds names and messages of people's data: as it is, and harmless to a terminal."""

from __future__ import annotations

import unicodedata

from rich.console import Console


def printable(text: str) -> str:
    """``text`` with control characters, and bytes that are no UTF-8, as escapes (``\\x1b``, ``\\udce9``)."""
    if text.isprintable():
        return text
    return "".join(repr(character)[1:-1] if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print one line: not wrapped, nothing in it read as markup, control characters as escapes."""
    console.print(printable(text), style=style, highlight=False, soft_wrap=True, markup=False)
