"""Read the YAML that people and their tools write: nothing in it is executed, expanded without end, or reinterpreted.

PyYAML's loaders make ``no``, ``007`` and ``2024-01-01`` a bool, a number and a date, take the second of two equal keys,
follow aliases that multiply, and raise errors of many types. Only its parser is used here.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

_LONGEST = 500_000  # bytes; a list of 20,000 class names has fewer
_MOST_TEXT = 1_000_000  # characters, each alias counted as what it stands for
_DEEPEST = 50
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")
_SURROGATE = re.compile("[\ud800-\udfff]")


class YamlError(ValueError):
    """YAML that can't be read. The text says what is wrong, and in which line."""


def parse_yaml(source: str | bytes) -> Any:
    """Parse one document into dicts, lists and strings. Keys and values are text as written; no text at all is None.

    Whoever knows what a value is for makes it a number, a bool or null: see ``boxwright.values``.

    Args:
        source: text, or bytes in UTF-8 or (with a byte order mark) UTF-16.

    Raises:
        YamlError: for what is no YAML, two equal keys, a list or mapping as a key, a tag other than ``!!str``, more
            than one document, a lone surrogate, and for documents that are too long, too deep or grow by aliases.
    """
    if len(source) > _LONGEST:
        raise YamlError(f"Expected at most {_LONGEST:,} characters but got {len(source):,}")
    text = source if isinstance(source, str) else _decode(source)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        _refuse(_line(error.problem_mark or error.context_mark), error.problem or "no valid YAML")
    except yaml.reader.ReaderError as error:
        _refuse(text.count("\n", 0, error.position), f"a character that can't stand in YAML, {chr(error.character)!r}")
    except (ValueError, OverflowError):  # of the scanner
        raise YamlError("a number out of range in an escape or a %YAML line") from None
    return builder.root


def format_yaml(value: Any) -> str:
    """Format a value as one line that ``parse_yaml`` reads: strings as they are where possible, else JSON."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_format(item, in_list=True) for item in value)}]"
    return _format(value)


def _format(value: Any, in_list: bool = False) -> str:
    if isinstance(value, str):
        with suppress(YamlError):
            if parse_yaml(f"[{value}]" if in_list else value) == ([value] if in_list else value):
                return value
    return json.dumps(value, ensure_ascii=False)


def _decode(source: bytes) -> str:
    wide = source.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8-sig"
    try:
        return source.decode(encoding)
    except UnicodeDecodeError as error:
        lines = source.count(b"\n", 0, error.start)
        _refuse(lines, f"byte {error.object[error.start]:#04x} is no {'UTF-16' if wide else 'UTF-8'}")


@dataclass
class _Open:
    """A list or mapping whose end is still to come."""

    value: Any
    anchor: str | None
    before: int  # characters of the document before it
    key: str | None = None  # of the value that comes next


class _Builder:
    """Builds the document from the parser's events."""

    def __init__(self) -> None:
        self.root: Any = None
        self._started = False
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # value and characters of it
        self._characters = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        line = _line(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            if self._started:
                _refuse(line, "a second document")
            self._started = True
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                _refuse(line, f"*{event.anchor} stands for nothing before it")
            self._add(*self._anchors[event.anchor], line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._take_value(event, line)

    def _take_value(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if event.tag not in _STRING_TAGS:
            _refuse(line, f"a tag, {event.tag}: only text, lists and mappings are read")
        if isinstance(event, yaml.CollectionStartEvent):
            before = self._characters
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._add(value, 1, line)
            self._open.append(_Open(value, event.anchor, before))
            if len(self._open) > _DEEPEST:
                _refuse(line, f"more than {_DEEPEST} lists or mappings within each other")
            return
        if _SURROGATE.search(event.value):
            _refuse(line, "half of a surrogate pair, which is no character")
        text = event.value if event.value or event.style else None
        size = 1 + len(event.value)
        if event.anchor is not None:
            self._anchors[event.anchor] = (text, size)
        self._add(text, size, line)

    def _add(self, value: Any, size: int, line: int) -> None:
        """Put a value where it belongs: into the list or mapping that is open, or as the key of the next one."""
        self._characters += size
        if self._characters > _MOST_TEXT:
            _refuse(line, f"more than {_MOST_TEXT:,} characters, counting what each alias (*name) stands for")
        if not self._open:
            self.root = value
            return
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is not None:
            parent.value[parent.key] = value
            parent.key = None
        else:
            parent.key = _new_key(value, parent.value, line)

    def _close(self) -> None:
        closed = self._open.pop()
        if closed.anchor is not None:
            self._anchors[closed.anchor] = (closed.value, self._characters - closed.before)


def _new_key(value: Any, mapping: dict[str, Any], line: int) -> str:
    if isinstance(value, list | dict):
        _refuse(line, "a list or a mapping as a key")
    key = value or ""
    if key in mapping:
        _refuse(line, f"the key {key!r} a second time")
    return key


def _line(mark: Any) -> int:
    return mark.line if mark else 0


def _refuse(line: int, what: str) -> NoReturn:
    """Raise for a line, counted from 0 as PyYAML does."""
    raise YamlError(f"line {line + 1}: {what}")
