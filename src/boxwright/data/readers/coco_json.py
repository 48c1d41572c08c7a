"""COCO JSON decoded into typed records.

msgspec skips segmentations and whatever else is there, so that they never become Python objects. A file that breaks the
types somewhere is read again record by record.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from mmap import mmap
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec

from boxwright._util.reading import as_text, as_utf8, escaped, readable
from boxwright.data.readers.coco_masks import around_mask
from boxwright.errors import DataError

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""Errors that decoding raises: not JSON, not UTF-8, not of the expected types, or nested too deep."""

KEYS = ("images", "annotations", "categories")
_NAN = float("nan")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_Entry = tuple[int | str, dict[str, Any]]
_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class CocoImage(msgspec.Struct, gc=False):
    """One entry of ``images``."""

    id: _Id
    file_name: str
    height: float = 0
    width: float = 0


class CocoBox(msgspec.Struct, gc=False):
    """One entry of ``annotations``; an unknown image or category is None."""

    image_id: _Id | None
    category_id: _Id | None
    bbox: tuple[float, float, float, float] | None = None
    id: _Id | None = None
    area: float | None = None
    iscrowd: int | bool = 0
    ignore: int | bool = 0
    difficult: int | bool = 0


class CocoCategory(msgspec.Struct, gc=False):
    """One entry of ``categories``."""

    id: _Id
    name: str
    supercategory: str | None = None


class CocoFile(msgspec.Struct, gc=False):
    """The whole file."""

    images: list[CocoImage]
    annotations: list[CocoBox]
    categories: list[CocoCategory]


class CocoOutline(msgspec.Struct, gc=False):
    """Enough to know a COCO file and its classes; the rest is only scanned."""

    images: msgspec.Raw
    annotations: msgspec.Raw
    categories: list[CocoCategory]


class CocoUsed(msgspec.Struct, gc=False):
    """The category of a box."""

    category_id: _Id


class CocoUsage(msgspec.Struct, gc=False):
    """The categories of all boxes; the rest is only scanned."""

    annotations: list[CocoUsed]


class _Masked(msgspec.Struct, gc=False):
    """The mask of a box."""

    segmentation: list[list[float]] | dict[str, Any] | None = None


class _MaskedFile(msgspec.Struct, gc=False):
    annotations: list[_Masked]


class Loaded(NamedTuple):
    """A file, and what was said of it."""

    content: CocoFile
    broken: list[str]
    """Images and categories that had to be dropped."""
    notes: list[tuple[str, str]]
    """Kind and message of oddities that drop nothing."""


def names_keys(data: bytes) -> bool:
    """Tell whether data begins as an object and names images, annotations and categories."""
    data = as_utf8(data)
    return data.lstrip()[:1] == b"{" and all(b'"%b"' % key.encode() in data for key in KEYS)


def is_coco(data: bytes, expected: bool) -> bool:
    """Tell whether JSON holds images, annotations and categories; ``expected`` if it can't be parsed."""
    data = as_utf8(data)
    if expected and names_keys(data):
        return True
    try:
        msgspec.json.decode(data, type=CocoOutline)
    except UNREADABLE:
        if not data.lstrip().startswith(b"{"):
            return expected and not data.lstrip().startswith(b"[")
        try:
            content = json.loads(as_text(data))
        except (ValueError, RecursionError):
            return expected
        return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)
    return True


def load_coco(data: bytes | mmap) -> Loaded:
    """Decode a COCO file; a box with numbers that can't be read gets NaN, one with a mask alone the box around it.

    Raises:
        DataError: where it is no JSON object with images, annotations and categories.
    """
    if data[:1] != b"{" or data[1:2] == b"\0":
        data = as_utf8(data[:])
    try:
        content = msgspec.json.decode(data, type=CocoFile)
        if all(map(attrgetter("bbox"), content.annotations)):
            return _named(Loaded(content, [], []))
        masks = msgspec.json.decode(data, type=_MaskedFile).annotations
    except UNREADABLE:
        return _named(_load_loosely(as_utf8(data[:])))
    bare = [place for place, box in enumerate(content.annotations) if box.bbox is None]
    for place in bare:
        content.annotations[place].bbox = around_mask(masks[place].segmentation)
    return _named(Loaded(content, [], _about_masks(len(bare))))


def repeated_keys(data: bytes, boxes: int) -> list[str]:
    """Keys that stand twice in one object, of which JSON keeps the last: what the first said isn't read.

    ``boxes`` is the number of annotations.
    """
    data = as_utf8(data)
    most = dict.fromkeys(KEYS, 1) | dict.fromkeys(("bbox", "image_id", "category_id"), boxes)
    if all(data.count(b'"%b"' % key.encode()) <= count for key, count in most.items()):
        return []
    twice: set[str] = set()

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            twice.update(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return content

    try:
        json.loads(as_text(data), object_pairs_hook=look)
    except (ValueError, RecursionError):
        return []
    return sorted(map(escaped, twice))


def tidied(categories: list[CocoCategory]) -> list[CocoCategory]:
    """Clean names for display: strip outer blanks, and leave none empty."""
    for category in categories:
        category.name = readable(category.name) or str(category.id)
        category.supercategory = None if category.supercategory is None else readable(category.supercategory)
    return categories


def _named(loaded: Loaded) -> Loaded:
    tidied(loaded.content.categories)
    return loaded


def _about_masks(count: int) -> list[tuple[str, str]]:
    text = f"{count} annotations have no bbox: the boxes around their masks are read"
    return [("box-from-polygon", text)] if count else []


def _load_loosely(data: bytes) -> Loaded:
    content = _object(data)
    images, lost = _entries(content["images"], lambda entry: isinstance(entry.get("file_name"), str))
    categories, nameless = _entries(content["categories"], lambda entry: True)
    broken = [f"image {place} has no usable id and file_name" for place in lost]
    broken += [f"category {place} has no usable id" for place in nameless]
    of_image, notes = _numbers("image", images, "file_name")
    of_category, more = _numbers("category", categories, "name")
    boxes = [_loose_box(entry, of_image, of_category) for entry in content["annotations"]]
    kept = [
        CocoImage(of_image[key], _file_name(e["file_name"]), _float(e.get("height")), _float(e.get("width")))
        for key, e in images
    ]
    classes = [_loose_category(of_category[key], entry) for key, entry in categories]
    masks = _about_masks(sum(_is_bare(entry) for entry in content["annotations"]))
    return Loaded(CocoFile(kept, boxes, classes), broken, notes + more + masks)


def _object(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(as_text(data))  # takes NaN and Infinity, and tells the line of an error
    except (ValueError, RecursionError) as error:
        raise DataError(escaped(str(error))) from None
    if not isinstance(content, dict):
        raise DataError("Expected an object")
    for key in KEYS:
        if not isinstance(content.get(key), list):
            raise DataError(f"Expected a list of {key}")
    return content


def _entries(listed: list[Any], is_usable: Callable[[dict[str, Any]], bool]) -> tuple[list[_Entry], list[int]]:
    """Return the entries by their id, and the positions of entries without a usable one."""
    kept: list[_Entry] = []
    lost = []
    for place, entry in enumerate(listed):
        key = _key(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or not is_usable(entry):
            lost.append(place)
        else:
            kept.append((key, entry))
    return kept, lost


def _key(value: Any) -> int | str | None:
    """Normalize an id: 7, 7.0 and "7" are the same, "07" and "7e0" are names."""
    if isinstance(value, str):
        text = value.strip()
        digits = text.removeprefix("-")
        number = digits.isascii() and digits.isdecimal() and len(digits) < 20
        return int(text) if number and str(int(text)) == text else text or None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _numbers(what: str, entries: list[_Entry], name: str) -> tuple[dict[int | str | None, int], list[tuple[str, str]]]:
    """Choose a 64-bit number for each id, its own where all have one, and for each name that only one entry has."""
    keys = list(dict.fromkeys(key for key, _ in entries))
    odd = [key for key in keys if not _is_64_bit(key)]
    numbers: dict[int | str | None, int] = {key: place + 1 if odd else int(key) for place, key in enumerate(keys)}
    count = Counter(entry.get(name) for _, entry in entries if isinstance(entry.get(name), str))
    for key, entry in entries:
        if isinstance(alias := entry.get(name), str) and count[alias] == 1:
            numbers.setdefault(alias, numbers[key])
    if not odd:
        return numbers, []
    text = f"{what} ids are no 64-bit numbers, as {escaped(repr(odd[0])):.80}: they are numbered from 1"
    return numbers, [("renumbered-ids", text)]


def _is_64_bit(key: int | str | None) -> bool:
    return isinstance(key, int) and -(2**63) <= key < 2**63


def _is_bare(entry: Any) -> bool:
    """Tell whether a box has a mask and no bbox."""
    return isinstance(entry, dict) and not entry.get("bbox") and bool(entry.get("segmentation"))


def _loose_box(entry: Any, of_image: dict[int | str | None, int], of_category: dict[int | str | None, int]) -> CocoBox:
    bare = _is_bare(entry)
    entry = entry if isinstance(entry, dict) else {}
    bbox = entry.get("bbox")
    numbers = [_float(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [_NAN] * 4
    left, top, width, height = around_mask(entry["segmentation"]) if bare else numbers
    flags = [int(_float(entry.get(key)) > 0) for key in ("iscrowd", "ignore", "difficult")]
    number = _key(entry.get("id"))
    return CocoBox(
        of_image.get(_key(entry.get("image_id"))),
        of_category.get(_key(entry.get("category_id"))),
        (left, top, width, height),
        number if isinstance(number, int) and _is_64_bit(number) else None,
        _float(entry.get("area")),
        *flags,
    )


def _loose_category(number: int, entry: dict[str, Any]) -> CocoCategory:
    parent = entry.get("supercategory")
    return CocoCategory(number, str(entry.get("name", "")), parent if isinstance(parent, str) else None)


def _file_name(text: str) -> str:
    """Make a valid file name: surrogates stand for bytes that are no UTF-8, and others for no character."""
    return _NO_BYTE.sub("\ufffd", text)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN
