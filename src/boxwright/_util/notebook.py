"""What a notebook shows of a result: ``_repr_html_`` of the classes that have one is made of these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from boxwright._util.printing import printable

_MOST = 20


def paragraphs(*lines: str) -> str:
    """Make a paragraph of each line that isn't empty."""
    return "".join(f"<p>{_shown(line)}</p>" for line in lines if line)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], most: int = _MOST) -> str:
    """Make a table of the first ``most`` rows, and say how many more there are."""
    listed = list(rows)
    cells = "".join(f"<th>{_shown(name)}</th>" for name in head)
    lines = ["".join(f"<td>{_shown(cell)}</td>" for cell in row) for row in listed[:most]]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    rest = f"and {len(listed) - most} more" if len(listed) > most else ""
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>{paragraphs(rest)}"


def _shown(text: str) -> str:
    return escape(printable(text))
