"""COCO JSON decoded into typed records.

msgspec skips segmentations and whatever else is there, so that they never become Python objects. A file that breaks the
types somewhere is read again record by record.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

from boxwright.errors import DataError

UNREADABLE = (msgspec.MsgspecError, RecursionError)
"""What decoding raises: not JSON, not of the expected types, or nested too deep."""

_NAN = float("nan")
_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class CocoImage(msgspec.Struct, gc=False):
    """One entry of ``images``."""

    id: _Id
    file_name: str
    height: float = 0
    width: float = 0


class CocoBox(msgspec.Struct, gc=False):
    """One entry of ``annotations``."""

    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
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


_NAMES = (b'"images"', b'"annotations"', b'"categories"')


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


def is_coco(data: bytes, expected: bool) -> bool:
    """Whether JSON holds images, annotations and categories; ``expected`` where it can't be parsed.

    Where it is ``expected``, an object in which the three names stand is believed: loading it will tell, and scanning
    it first costs as much again.
    """
    if expected and data.lstrip()[:1] == b"{" and all(name in data for name in _NAMES):
        return True
    try:
        msgspec.json.decode(data, type=CocoOutline)
    except UNREADABLE:
        if not data.lstrip().startswith(b"{"):
            return expected and not data.lstrip().startswith(b"[")
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return expected
        return isinstance(content, dict) and all(
            isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
        )
    return True


def load_coco(data: bytes) -> tuple[CocoFile, list[str]]:
    """Decodes a COCO file; a box with numbers that can't be read gets NaN.

    Returns:
        The content, and what was said of images and categories that had to be dropped.

    Raises:
        DataError: where it is no JSON object with images, annotations and categories.
    """
    try:
        return msgspec.json.decode(data, type=CocoFile), []
    except UNREADABLE:
        pass
    try:
        content = json.loads(data)  # takes NaN and Infinity, and tells the line of an error
    except (ValueError, RecursionError) as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict):
        raise DataError("Expected an object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DataError(f"Expected a list of {key}")
    images = [_loose_image(entry) for entry in content["images"]]
    categories = [_loose_category(entry) for entry in content["categories"]]
    broken = [f"image {place} has no usable id and file_name" for place, image in enumerate(images) if not image]
    broken += [f"category {place} has no usable id" for place, category in enumerate(categories) if not category]
    boxes = [_loose_box(entry) for entry in content["annotations"]]
    return CocoFile([i for i in images if i], boxes, [c for c in categories if c]), broken


def _loose_image(entry: Any) -> CocoImage | None:
    if not isinstance(entry, dict) or (number := _integer(entry.get("id"))) is None:
        return None
    if not isinstance(entry.get("file_name"), str):
        return None
    return CocoImage(number, entry["file_name"], _float(entry.get("height")), _float(entry.get("width")))


def _loose_box(entry: Any) -> CocoBox:
    entry = entry if isinstance(entry, dict) else {}
    bbox = entry.get("bbox")
    numbers = [_float(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [_NAN] * 4
    flags = [int(_float(entry.get(key)) > 0) for key in ("iscrowd", "ignore", "difficult")]
    image, category = (_integer(entry.get(key)) for key in ("image_id", "category_id"))
    left, top, width, height = numbers
    return CocoBox(
        -1 if image is None else image,
        -1 if category is None else category,
        (left, top, width, height),
        _integer(entry.get("id")),
        _float(entry.get("area")),
        *flags,
    )


def _loose_category(entry: Any) -> CocoCategory | None:
    if not isinstance(entry, dict) or (number := _integer(entry.get("id"))) is None:
        return None
    parent = entry.get("supercategory")
    return CocoCategory(number, str(entry.get("name", number)), parent if isinstance(parent, str) else None)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN


def _integer(value: Any) -> int | None:
    number = _float(value)
    return int(number) if number.is_integer() and abs(number) < 2**63 else None
