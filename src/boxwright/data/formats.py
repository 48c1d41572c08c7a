"""Formats of image files: which are opened, by what, and what to do about others."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from boxwright.errors import DataError

_PILLOWS = {  # format -> its module in Pillow; no format that starts another program
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "BMP": "BmpImagePlugin",
    "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin",
    "GIF": "GifImagePlugin",
    "PPM": "PpmImagePlugin",
    "AVIF": "AvifImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
}
_FORMATS = (*_PILLOWS, "HEIF", "JXL")  # the last two where their plugins are
READ_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".jpx"),
        *(".avif", ".avifs", ".heic", ".heif", ".heics", ".heifs", ".hif", ".jxl"),
    }
)
UNREAD_SUFFIXES = frozenset(
    {
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef"),
        *(".srw", ".x3f", ".dcm", ".exr", ".hdr", ".tga", ".psd"),
    }
)
"""Pictures that can't be read; Pillow would take a camera's raw file for the small preview in it."""


class _Plugin(NamedTuple):
    """A Pillow plugin for a format; ``module`` registers it when its function ``start`` is called."""

    format: str
    package: str
    module: str
    start: str | None = None


_HEIF = _Plugin("HEIF", "pillow-heif", "pillow_heif", "register_heif_opener")
_AVIF = _Plugin("AVIF", "pillow-avif-plugin", "pillow_avif")
_JXL = _Plugin("JXL", "pillow-jxl-plugin", "pillow_jxl")
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), _HEIF),
}


def open_with_plugins(path: str | Path) -> ImageFile:
    """Open an image of the formats that boxwright reads, with an installed Pillow plugin if needed.

    Raises:
        DataError: For a format that needs something else, saying what. Other errors are Pillow's.
    """
    if Path(path).suffix.lower() in UNREAD_SUFFIXES:
        raise DataError(f"{path}: a format that isn't read: convert it to JPEG, PNG or TIFF")
    try:
        return Image.open(path, formats=_formats())
    except UnidentifiedImageError:
        plugin = _plugin_for(path)
        if plugin is None:
            raise
    if plugin.format in Image.OPEN:
        raise UnidentifiedImageError("cannot identify image file")  # the plugin has seen it, too
    if find_spec(plugin.module) is None:
        kind = "HEIC" if plugin is _HEIF else plugin.format
        raise DataError(f"{path}: {kind} needs a plugin: pip install {plugin.package}")
    module = import_module(plugin.module)
    if plugin.start is not None:
        getattr(module, plugin.start)()
    return Image.open(path, formats=_formats())


def _formats() -> tuple[str, ...]:
    """List the formats of this Pillow, which may be built without one of them, and of registered plugins."""
    _register()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def _register() -> None:
    """Import what Pillow opens these formats with; its ``init`` would import three dozen others."""
    for module in _PILLOWS.values():
        with suppress(ImportError):  # this Pillow may be older than AVIF in it
            import_module(f"PIL.{module}")


def _plugin_for(path: str | Path) -> _Plugin | None:
    """Find the plugin that a file needs by its first bytes, since phones name HEIC files .jpg, too."""
    with open(path, "rb") as file:
        start = file.read(32)
    if start[4:8] == b"ftyp":
        return next((_BRANDS[brand] for brand in (start[8:12], start[16:20]) if brand in _BRANDS), None)
    return _JXL if start[:2] == b"\xff\x0a" or start[4:8] == b"JXL " else None


_TURNING_KEYS = ("exif", "XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type APP1")
_TURNING_MARKERS = (0xE1, 0xFF)  # EXIF and XMP; a byte of filling, which isn't followed by a length
_JPEG_STARTS = (4096, 65536)  # bytes, in which the first scan of most files without EXIF begins, and of nearly all
_TURNING_CHUNKS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def may_be_turned(image: ImageFile) -> bool:
    """Tell whether an opened file may state an orientation. For PNG files, Pillow knows only after decoding."""
    if image.format != "PNG" or image.fp is None or any(key in image.info for key in _TURNING_KEYS):
        return True
    place = image.fp.tell()
    try:
        return _has_late_chunk(image.fp)
    finally:
        image.fp.seek(place)


def is_plain_jpeg(path: str) -> bool:
    """Tell whether a file is certainly a JPEG without EXIF and XMP, which state an orientation, or empty."""
    start = b""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # thousands of times: no file object
        try:
            for most in _JPEG_STARTS:
                start += os.read(descriptor, most)
                if (plain := _pixels_follow(start)) is not None:
                    return plain
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return not start


def _pixels_follow(start: bytes) -> bool | None:
    """Tell whether a JPEG's pixels start without EXIF and XMP before them; None if too little was read."""
    if start[:2] != b"\xff\xd8":
        return False if start else None
    place = 2
    while place + 4 <= len(start):
        kind = start[place + 1]
        if start[place] != 0xFF or kind in _TURNING_MARKERS:
            return False
        if kind == 0xDA:  # from here on, pixels
            return True
        place += 2 + (start[place + 2] << 8) + start[place + 3]
    return None


def _has_late_chunk(file: IO[bytes]) -> bool:
    file.seek(8)
    late = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        late = late or kind == b"IDAT"
        if late and kind in _TURNING_CHUNKS:
            return True
        file.seek(length + 4, 1)
    return False
