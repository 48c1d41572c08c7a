"""Lines as they are: not wrapped, and nothing in them read as markup."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print one line."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
