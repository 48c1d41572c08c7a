"""The pieces of HTML that reports are built from. Everything that is not Markup is escaped."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import Any

from PIL import Image

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.writing import write_text


class Markup(str):
    """HTML that is safe to put on the page as it is."""

    __slots__ = ()


def write_document(
    path: Path,
    title: str,
    header: str,
    sections: Iterable[str],
    footer: str,
    style: str = "",
    *,
    overwrite: bool = False,
) -> Path:
    """Write a page, see ``document``, and create its folders; return its path.

    Raises:
        WriteError: If it cannot be written, or would replace a file that is not boxwright's without ``overwrite``.
    """
    claim(path, overwrite=overwrite)
    write_text(path, document(title, header, sections, footer, style))
    return path


def document(title: str, header: str, sections: Iterable[str], footer: str, style: str = "") -> Markup:
    """Build a whole page that needs no other file; ``header`` follows the title and is HTML like the sections.

    ``style``: further CSS.
    """
    style = files("boxwright.report").joinpath("style.css").read_text(encoding="utf-8") + style
    return Markup(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="generator" content="{GENERATOR}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head><body><main>"
        f"<header><h1>{text(title)}</h1>{header}</header>"
        f"{''.join(sections)}<footer>{text(footer)}</footer></main></body></html>\n"
    )


def text(value: Any) -> Markup:
    """Format a value as HTML: numbers in few digits, NaN and None as a dash, sequences with commas, others escaped."""
    if isinstance(value, Markup):
        return value
    if value is None or (isinstance(value, float) and isnan(value)):
        return Markup("–")
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, int):
        return Markup(f"{value:,}")
    if isinstance(value, float):
        return Markup(f"{value:.4g}")
    if isinstance(value, Mapping):
        return Markup(", ".join(f"{text(key)} {text(item)}" for key, item in value.items()) or "–")
    if isinstance(value, (list, tuple)):
        return Markup(", ".join(map(text, value)) or "–")
    return Markup(escape(str(value)))


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], kinds: str, look: str = "", *, rising: int | None = None
) -> Markup:
    """Build a table.

    Args:
        head: Heads of the columns.
        rows: Cells, row by row.
        kinds: A letter per column: ``t`` text, ``n`` number, ``f`` name of a fact, ``k`` key, ``d`` dim and small.
        look: Words of the style sheet. ``stacked``: on a narrow screen each row is a card, with heads beside cells.
            ``sortable``: heads are buttons once page.js runs.
        rising: The column that the rows are sorted by.
    """
    ordered = ' aria-sort="ascending"'
    names = [
        f'<th class="{kind}" scope="col"{ordered if place == rising else ""}>{text(name)}</th>'
        for place, (name, kind) in enumerate(zip(head, kinds, strict=True))
    ]
    said = [f' data-name="{text(name)}"' if "stacked" in look else "" for name in head]
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}"{name}>{text(cell)}</td>' for cell, kind, name in zip(row, kinds, said, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    header = f"<thead><tr>{''.join(names)}</tr></thead>" if any(head) else ""
    looks = f' class="{look}"' if look else ""
    return Markup(f'<div class="wide"><table{looks}>{header}<tbody>{body}</tbody></table></div>')


def section(title: str, *parts: str) -> Markup:
    """Build a titled section, or nothing if it is empty."""
    body = "".join(part for part in parts if part)
    return Markup(f"<section><h2>{text(title)}</h2>{body}</section>" if body else "")


def details(title: str, body: Markup) -> Markup:
    """Build a part that is folded until opened, without a script."""
    return Markup(f"<details><summary>{text(title)}</summary>{body}</details>")


def image(picture: Image.Image, alt: str, *, fine: bool = False) -> Markup:
    """Put the picture on the page. ``fine`` keeps the color of thin lines, at more bytes."""
    width, height = picture.size
    return Markup(f'<img src="{data_uri(picture, fine=fine)}" width="{width}" height="{height}" alt="{text(alt)}">')


def data_uri(picture: Image.Image, quality: int = 88, *, fine: bool = False) -> str:
    """Encode the picture as a JPEG data URI; ``fine`` keeps the colors of all pixels, not of every fourth."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0 if fine else 2)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def drawing(data: bytes, alt: str) -> Markup:
    """Embed a PNG or GIF file as a data URI without compressing it again."""
    with Image.open(io.BytesIO(data)) as opened:
        (width, height), kind = opened.size, str(opened.format).lower()
    encoded = base64.b64encode(data).decode("ascii")
    return Markup(f'<img src="data:image/{kind};base64,{encoded}" width="{width}" height="{height}" alt="{text(alt)}">')


def script_data(name: str, content: Any) -> Markup:
    """Embed plain values as JSON for a script on the page, which finds them by the id ``name``.

    Nothing in them can end the element or begin a comment in it, and lone surrogates are kept.
    """
    data = json.dumps(content, separators=(",", ":"))  # ASCII only
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{name}">{data}</script>')


def figures(plots: Iterable[tuple[str, str]]) -> Markup:
    """Place plots, each an SVG under its title, side by side if there is room."""
    each = "".join(f"<figure><figcaption>{text(title)}</figcaption>{svg}</figure>" for title, svg in plots)
    return Markup(f'<div class="curves">{each}</div>' if each else "")


def small_interval(ends: tuple[float, float] | None) -> Markup:
    """Format ``[0.347, 0.422]`` in small type; nothing if unknown."""
    if ends is None or isnan(ends[0]):
        return Markup()
    return Markup(f'<small class="interval">[{ends[0]:.3f}, {ends[1]:.3f}]</small>')


def signed(value: float) -> Markup:
    """Format ``+0.012``, with a true minus sign; 0.000 has no sign."""
    if isnan(value):
        return text(None)
    return Markup(f"{value:+.3f}".replace("-", "−") if abs(value) >= 5e-4 else "0.000")


def track(low: float, high: float, reach: float) -> Markup:
    """Draw the interval low..high as a bar on a track from -``reach`` to ``reach``, with 0 in the middle."""
    if isnan(low) or not reach:
        return Markup()
    left, right = (100 * (0.5 + min(max(end / reach, -1.0), 1.0) / 2) for end in (low, high))
    return Markup(f'<i class="track"><b style="left:{left:.1f}%;width:{max(right - left, 1.0):.1f}%"></b></i>')


def bar(value: float, longest: float = 1.0) -> Markup:
    """Draw a small bar for a value from 0 to ``longest``, with the number beside it."""
    if isnan(value):
        return Markup('<span class="bar"><span>–</span></span>')
    share = 100 * min(max(value / longest, 0.0), 1.0)
    return Markup(f'<span class="bar"><span>{value:.3f}</span><i><b style="width:{share:.1f}%"></b></i></span>')
