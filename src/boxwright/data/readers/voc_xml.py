"""One annotation file of Pascal VOC's kind."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from defusedxml import DefusedXmlException, ElementTree

from boxwright._util.reading import as_utf8, readable
from boxwright.errors import DataError

_ORIGINAL = re.compile(r"\bVOC\s?(19|20)\d\d\b")
_DECLARED = re.compile(rb"\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]+)[\"']")
_OF_EXPAT = ("utf_8", "ascii", "iso8859_1")
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
"""Codecs that hold all of another, and the characters besides that programs write under its name."""
_TEXTUAL = re.compile(r"gb|big5|shift_jis|euc|cp\d|iso|koi8|mac|hz|johab|tis|utf_(16|32)")
_NAN = float("nan")


class VocObject(NamedTuple):
    """One box of an <object>; what can't be read is NaN or empty."""

    name: str
    xyxy: tuple[float, float, float, float]
    difficult: bool
    shape: str = "bndbox"
    """Shape that its box is of: bndbox, polygon or robndbox (turned)."""


class VocFile(NamedTuple):
    """Content of one XML file, as far as it is used."""

    tag: str
    """Tag of the root: "annotation"."""
    filename: str
    size: tuple[int, int]
    original: bool
    objects: list[VocObject]


class RefusedXml(DataError):
    """XML that declares entities."""


def parse_voc(data: bytes) -> VocFile:
    """Parse an annotation file, in whatever encoding it declares.

    Raises DataError for what is no XML, RefusedXml for XML that declares entities.
    """
    try:
        root = ElementTree.fromstring(_decoded(data))
    except DefusedXmlException as error:
        raise RefusedXml(f"XML that declares entities: {type(error).__name__}") from None
    except (SyntaxError, ValueError, LookupError) as error:  # a bad encoding is one of the latter two
        why = "it is no UTF-8, and declares no other encoding" if _is_no_utf8(data) else error
        raise DataError(f"XML that can't be parsed: {why}") from None
    return VocFile(
        root.tag,
        _text(root, "filename").strip(),
        (_side(root, "size/height"), _side(root, "size/width")),
        _ORIGINAL.search(_text(root, "source/database")) is not None,
        [thing for node in root.iterfind("object") for thing in _objects(node)],
    )


def _is_no_utf8(data: bytes) -> bool:
    declared = _DECLARED.match(data)
    try:
        data.decode()
    except UnicodeDecodeError:
        return declared is None or declared[1].lower() == b"utf-8"
    return False


def _decoded(data: bytes) -> bytes | str:
    """Text for the parser: expat itself knows UTF-8, UTF-16 and Latin-1 alone."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in data[:4]:
        return as_utf8(data).decode()
    declared = _DECLARED.match(data)
    if declared is None:
        return data
    name = codecs.lookup(declared[1].decode()).name.replace("-", "_")
    if name.startswith("utf_16"):  # as .NET declares it: of a file that is, this couldn't be read
        return data.decode()
    if name in _OF_EXPAT:
        return data
    if not _TEXTUAL.match(name):
        raise LookupError(f"unknown encoding {declared[1].decode()}")
    return data.decode(_WIDER.get(name, name))


def _objects(node: Any) -> Iterator[VocObject]:
    """Read the boxes of one <object>: usually one, but each <bndbox> is a box."""
    name, difficult = readable(_text(node, "name")), _number(node, "difficult") > 0
    boxes = node.findall("bndbox")
    for box in boxes:
        left, top, right, bottom = (_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
        yield VocObject(name, (left, top, right, bottom), difficult)
    if boxes:
        return
    for shape, around in (("polygon", _around_polygon), ("robndbox", _around_turned)):
        if (found := node.find(shape)) is not None:
            yield VocObject(name, around(found), difficult, shape)
            return
    yield VocObject(name, (_NAN,) * 4, difficult)


def _around_polygon(node: Any) -> tuple[float, float, float, float]:
    """Compute the box around <x1>, <y1>, <x2> ... or <pt><x>, <y> ..."""
    x, y = ([_float(child.text) for child in node.iter() if _is_axis(child.tag, axis)] for axis in "xy")
    return (min(x), min(y), max(x), max(y)) if x and y else (_NAN,) * 4


def _is_axis(tag: Any, axis: str) -> bool:
    return isinstance(tag, str) and tag[:1] == axis and (tag == axis or tag[1:].isdecimal())


def _around_turned(node: Any) -> tuple[float, float, float, float]:
    """Compute the upright box around a turned one: center, width, height and angle in radians."""
    x, y, width, height, angle = (_number(node, key) for key in ("cx", "cy", "w", "h", "angle"))
    if not math.isfinite(angle):
        return (_NAN,) * 4
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    half_width, half_height = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def _text(node: Any, path: str) -> str:
    return node.findtext(path) or ""


def _number(node: Any, path: str) -> float:
    return _float(_text(node, path))


def _float(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return _NAN


def _side(node: Any, path: str) -> int:
    value = _number(node, path)
    return int(value) if 0 < value < 2**31 else 0
