"""Files that decode without an error although the end of their picture is missing."""

from __future__ import annotations

import io
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LOOK = 16  # last bytes that are all 0 in a file whose end was never written
_RUN = 64  # bytes of 0 with which no compressed data ends
_FILLING = 128
_SPARE = 64  # bytes that let a decoder finish the last block of a scan


def missing_end(file: IO[bytes], kind: str | None) -> int:
    """Count the zeros at a file's end that replace its picture; the file's position is unchanged.

    An interrupted upload or download into a file of full length looks like that. Zeros after a complete picture are
    padding. ``kind``: Pillow's name of the format.
    """
    complete = _COMPLETE.get(kind or "")
    if complete is None:
        return 0
    place = file.tell()
    try:
        length = file.seek(0, io.SEEK_END)
        file.seek(max(0, length - _LOOK))
        if any(file.read()):
            return 0
        file.seek(0)
        data = file.read()
    finally:
        file.seek(place)
    return 0 if complete(data) else len(data) - len(data.rstrip(b"\0"))


def _jpeg_ends(data: bytes) -> bool:
    return _end_of_jpeg(data) >= 0


def _end_of_jpeg(data: bytes) -> int:
    """Find the end-of-image marker after the first scan, -1 if there is none; a thumbnail's comes before it."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return data.find(b"\xff\xd9", place)


def _png_ends(data: bytes) -> bool:
    return b"IEND" in data


def _webp_ends(data: bytes) -> bool:
    return any(data[: 8 + int.from_bytes(data[4:8], "little")][-_RUN:])


def _boxes_end(data: bytes) -> bool:
    """Tell whether the last box of an ISO media file has content at its end."""
    place = 0
    while any(data[place : place + 8]):
        size = int.from_bytes(data[place : place + 4])
        if size == 1:
            size = int.from_bytes(data[place + 8 : place + 16])
        place = place + size if size >= 8 else len(data)
    return any(data[:place][-_RUN:])


_COMPLETE = {
    "JPEG": _jpeg_ends,
    "MPO": _jpeg_ends,
    "PNG": _png_ends,
    "WEBP": _webp_ends,
    "AVIF": _boxes_end,
    "HEIF": _boxes_end,
}


def stops_early(data: bytes, image: Image.Image, pixels: NDArray[np.uint8]) -> bool:
    """Tell whether the scan of a JPEG ends before its picture does, which decoders fill with gray 128.

    ``image``: as opened from ``data``; ``pixels`` (H, W, 3): as decoded. Progressive files cannot be judged.
    """
    if image.format not in ("JPEG", "MPO") or image.info.get("progressive"):
        return False
    if not any((pixels[y, x] == _FILLING).all() for y in (0, -1) for x in (0, -1)):
        return False
    without_end = data[: _end_of_jpeg(data)] + bytes(_SPARE)
    try:
        with Image.open(io.BytesIO(without_end), formats=("JPEG",)) as again:
            again.load()
    except Exception:  # the decoder asks for more data than there is
        return True
    return False
