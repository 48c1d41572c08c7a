"""Entries of COCO results files, read as leniently as annotations are: in any Unicode encoding, numbers as text too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from boxwright._util.reading import as_text, as_utf8, escaped, read_regular
from boxwright.errors import DataError

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
_FORM = "a list of image_id, category_id, bbox, score"


class Entry(msgspec.Struct, gc=False, kw_only=True):
    """One detection; x, y, width and height are in pixels."""

    generator: str | msgspec.UnsetType = msgspec.UNSET
    """In the first entry of a file: the program that wrote it."""
    image_id: int | float | str | None = None
    category_id: int | float | str | None = None
    bbox: tuple[float, float, float, float]
    score: float
    file_name: str | None = None
    category: str | None = None


def read_entries(path: Path) -> list[Entry]:
    """Read the entries of a file, in its order.

    Raises:
        DataError: If the file cannot be read or is not a list of detections; names the first entry that is not one.
    """
    try:
        data = as_utf8(read_regular(path))
    except (OSError, ValueError) as error:
        reason = error.strerror or error.args[-1] if isinstance(error, OSError) else error
        raise DataError(f"{path}: can't be read ({reason})") from error
    try:
        return msgspec.json.decode(data, type=list[Entry])
    except _UNREADABLE as error:
        fault = escaped(str(error))
    try:
        return _read_loosely(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a COCO results file, {_FORM}: {escaped(str(error))} ({fault})") from None


def _read_loosely(data: bytes) -> list[Entry]:
    """Read entry by entry; raises ValueError for the first that is not a detection."""
    content = json.loads(as_text(data))  # accepts NaN and Infinity, and reports the line of an error
    if isinstance(content, dict):
        raise ValueError("it is ground truth" if "annotations" in content else "it is an object")
    if not isinstance(content, list):
        raise ValueError("it is no list")
    return [_loose_entry(place, entry) for place, entry in enumerate(content)]


def _loose_entry(place: int, entry: Any) -> Entry:
    if not isinstance(entry, dict):
        raise ValueError(f"entry {place} is {_shown(entry)}")
    box, score = entry.get("bbox"), _number(entry.get("score"))
    numbers = [_number(side) for side in box] if isinstance(box, list) else []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"entry {place}: bbox is {_shown(box)}, not four finite numbers")
    if not math.isfinite(score):
        raise ValueError(f"entry {place}: score is {_shown(entry.get('score'))}, not a finite number")
    for key in ("image_id", "category_id"):
        if not isinstance(entry.get(key), int | float | str | None) or isinstance(entry.get(key), bool):
            raise ValueError(f"entry {place}: {key} is {_shown(entry[key])}, neither a number nor a name")
    names = {key: entry[key] for key in ("file_name", "category") if isinstance(entry.get(key), str)}
    left, top, width, height = numbers
    ids: dict[str, Any] = {key: entry.get(key) for key in ("image_id", "category_id")}
    return Entry(**ids, **names, bbox=(left, top, width, height), score=score)


def _number(value: Any) -> float:
    """Convert a number, also from text; NaN for anything else."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _shown(value: Any) -> str:
    return f"{value!r:.60}"
