"""Documents that are nearly right: valid ones with their structure, their values and their bytes changed at random.

A document is a tree of ``Pairs`` (keys may stand twice), lists and scalars; a ``Raw`` scalar is written as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (
    *("1e400", "-1e400", "-0", "-0.0", "1e-400", "NaN", "Infinity", "-Infinity", ".inf", "9" * 30, "9" * 5000, "-1"),
    *("2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1.0", "1_0", "0x10", "1e18"),
)
STRINGS = (
    *("", " ", "a ", "\0", "\ud800", "a\udfff.jpg", "\U0001f600", "\u202egpj.a", "\ufeff", "é", "²", "٣", "a\nb", "\t"),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\a.jpg",
        "..",
        ".",
        "a/" * 1500,
        "x" * 3000,
        "i0.jpg/",
        "i0.jpg ",
        "I0.JPG",
    ),
    *(
        "yes",
        "no",
        "null",
        "007",
        "[/a]",
        "[bold]",
        "<!--<script>",
        "</script>",
        "\x1b[31m",
        "%s",
        "{}",
        "&amp;",
        "]]>",
    ),
    *("images", "train", "i0.jpg", "http://x/y.jpg", "-1", "1", "1.5", "nan"),
)
YAML = (
    *(
        "!!int abc",
        "!!bool maybe",
        "!!timestamp q",
        "!!float x",
        "!!binary =",
        "!!python/name:os.system",
        "! x",
        "!x y",
    ),
    *("2024-13-01", "2024-01-01", "12:30:61", "yes", "007", "~", "1e3", "0o17", "&a x", "*a", "&a [*a]", "<<: *a"),
    *(
        "[" * 3000,
        "{" * 2000,
        "- " * 500,
        "{²: a}",
        "{[1, 2]: 3}",
        "? a",
        ": b",
        "|\n  a\n",
        ">-",
        '"\\ud800"',
        '"\\x"',
    ),
    *('"\\U99999999"', "'", '"', "\t", "%YAML 3.0", "---", "...", "#", "{a: 1, a: 2}", "[[a]]", "{a: {b: [c]}}"),
)


class Pairs(list[tuple[str, Any]]):
    """An object: its keys and values, in order."""


class Raw(str):
    """Text that is written as it is."""


def tree(value: Any) -> Any:
    """Plain values as a document."""
    if isinstance(value, dict):
        return Pairs((str(key), tree(item)) for key, item in value.items())
    return [tree(item) for item in value] if isinstance(value, list) else value


def mutate(document: Any, rng: Random, raw: tuple[str, ...] = ()) -> Any:
    """The document with one to four of its places changed."""
    holder = [document]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        parent, place = _place(holder, rng)
        _change(parent, place, rng, raw)
    return holder[0] if holder else None


def _place(holder: list[Any], rng: Random) -> tuple[list[Any], int]:
    """Some list or object, and a place in it."""
    parent, place = holder, 0
    while rng.random() < 0.8:
        value = _value(parent, place) if parent else None
        if not isinstance(value, list) or not value:
            break
        parent, place = value, rng.randrange(len(value))
    return parent, place


def _value(parent: list[Any], place: int) -> Any:
    return parent[place][1] if isinstance(parent, Pairs) else parent[place]


def _change(parent: list[Any], place: int, rng: Random, raw: tuple[str, ...]) -> None:
    if not parent:
        parent.append(odd(rng, raw))
        return
    what = rng.choice(("odd", "odd", "odd", "odd", "drop", "twice", "wrap", "key", "move"))
    if what == "drop":
        del parent[place]
    elif what == "twice":
        parent.insert(place, parent[place])
    elif isinstance(parent, Pairs):
        key, value = parent[place]
        if what == "key":
            key = rng.choice((*STRINGS, *(name for name, _ in parent)))
        else:
            value = _other(value, what, rng, raw)
        parent[place] = (key, value)
    else:
        parent[place] = _other(parent[place], what, rng, raw)


def _other(value: Any, what: str, rng: Random, raw: tuple[str, ...]) -> Any:
    if what == "wrap":
        return Pairs([("a", value)]) if rng.random() < 0.5 else [value]
    if what == "move" and isinstance(value, list) and value:
        return _value(value, rng.randrange(len(value)))
    return odd(rng, raw)


def odd(rng: Random, raw: tuple[str, ...] = ()) -> Any:
    """A value that nobody expects."""
    kind = rng.randrange(8 if raw else 6)
    if kind >= 6:
        return Raw(rng.choice(raw))
    if kind == 5:
        return rng.choice((None, True, False, [], Pairs(), [[]], Pairs([("", None)]), [1] * 500, Raw("[" * 2000)))
    return Raw(rng.choice(NUMBERS)) if kind < 2 else rng.choice(STRINGS)


def as_json(document: Any) -> str:
    if isinstance(document, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(value)}" for key, value in document) + "}"
    if isinstance(document, list):
        return "[" + ", ".join(map(as_json, document)) + "]"
    return str(document) if isinstance(document, Raw) else json.dumps(document)


def as_yaml(document: Any) -> str:
    """The first level as lines, what is below as on one line."""
    if isinstance(document, Pairs):
        return "".join(f"{_plain(key)}: {_flow(value)}\n" for key, value in document)
    return "".join(f"- {_flow(value)}\n" for value in document) if isinstance(document, list) else _flow(document)


def _flow(value: Any) -> str:
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{_plain(key)}: {_flow(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _plain(value) if isinstance(value, str) else json.dumps(value)


def _plain(text: str) -> str:
    return text if re.fullmatch(r"[\w./ -]*", text) or isinstance(text, Raw) else json.dumps(text)


def as_xml(document: Any) -> str:
    if isinstance(document, Pairs):
        return "".join(f"<{key}>{as_xml(value)}</{key}>" for key, value in document)
    return "".join(map(as_xml, document)) if isinstance(document, list) else "" if document is None else str(document)


def as_lines(document: Any) -> str:
    """A list of lines, each a list of words."""
    rows = document if isinstance(document, list) else [document]
    return "\n".join(" ".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows) + "\n"


def to_bytes(text: str, rng: Random) -> bytes:
    """In UTF-8 as a rule, then and again cut, damaged, or in another encoding."""
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.65:
        return content
    change: Callable[[bytes], bytes] = rng.choice(
        (
            lambda data: data[: rng.randrange(len(data) + 1)],
            lambda data: data[: (at := rng.randrange(len(data) + 1))] + rng.randbytes(3) + data[at:],
            lambda data: data[: (at := rng.randrange(len(data) + 1))] + data[at + rng.randrange(20) :],
            lambda data: data[: (at := rng.randrange(len(data) + 1))] + data[at : at + 20] + data[at:],
            lambda data: b"\xef\xbb\xbf" + data,
            lambda data: text.encode("utf-16", "surrogatepass"),
            lambda data: text.encode("latin-1", "replace").replace(b"?", b"\xe9"),
            lambda data: data.replace(b"\n", b"\r\n").replace(b" ", b"\0", 1),
        )
    )
    return change(content)
