"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; bars and line ends within a cell are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n"


def code(text: str) -> str:
    """Write text in the font of code, whatever is in it; nothing for no text."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else ""


def prose(text: str) -> str:
    """Write plain text so that none of it reads as HTML or as emphasis; code in backticks stays code."""
    pieces = text.replace("``", "`").split("`")
    for place in range(0, len(pieces), 2):
        pieces[place] = re.sub(r"[\\*_\[]", r"\\\g<0>", pieces[place]).replace("<", "&lt;")
    return "`".join(pieces)


def _cell(text: str) -> str:
    """Escape the bars outside of code: within it they part no cells."""
    pieces = text.replace("\n", " ").split("`")
    pieces[::2] = [piece.replace("|", "\\|") for piece in pieces[::2]]
    return "`".join(pieces)
