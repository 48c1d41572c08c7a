"""The table of layouts in docs/data.md is what the readers declare."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boxwright.data.layout import READERS
from boxwright.parts import ReaderInfo, reader_info

ROOT = Path(__file__).parents[1]
BOXES = {"corners": "two corners", "size": "corner and size", "center": "center and size"}


def table(*rows: Iterable[str]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * head.count(" | ") + "---|", *body])


def test_the_page_lists_every_layout() -> None:
    rows = [
        (reader.title if place == 0 else "", tools, files, _box(reader_info(reader)) if place == 0 else "")
        for reader in READERS
        for place, (tools, files) in enumerate(reader.written_by)
    ]
    expected = table(("layout", "as written by", "what lies in the folder", "a box is"), *rows)
    assert expected in (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), expected


def _box(info: ReaderInfo) -> str:
    return f"{BOXES[info.form]}, {'fractions' if info.fractions else 'pixels'}"
