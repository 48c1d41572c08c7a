"""Image files to arrays: always (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from boxwright.errors import DataError

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # no format that starts another program
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 turn by 90 degrees
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class RefusedImageError(DataError):
    """An image of so many pixels that decoding it could exhaust the memory."""


def open_image(path: str | Path) -> Image.Image:
    """The image with only its header read; the caller closes it.

    Raises:
        DataError: naming the file, where it is no image; RefusedImageError where it is a decompression bomb.
    """
    try:
        image = Image.open(path, formats=_formats())
    except _BOMBS as error:
        raise RefusedImageError(f"{path}: refused, {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except Exception as error:  # a decoder meets hostile bytes: whatever it raises is about this file
        raise DataError(f"{path}: not a readable image ({_reason(error)})") from None
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        image.close()
        raise RefusedImageError(f"{path}: refused, {image.width}x{image.height} pixels are more than {limit}")
    return image


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # Pillow may be built without one of them


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of the upright image, from the file's header alone.

    Raises:
        DataError: naming the file, where it is no image.
    """
    with open_image(path) as image:
        width, height = image.size
        return (width, height) if is_turned(image) else (height, width)


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none or it can't be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF is no reason to refuse the pixels
        return 1


def is_turned(image: Image.Image) -> bool:
    """Whether EXIF swaps height and width. Pillow has already swapped them in the header of a TIFF."""
    return 5 <= orientation(image) <= 8 and image.format != "TIFF"


def decode_image(path: str | Path) -> NDArray[np.uint8]:
    """Decodes an image file in full.

    EXIF orientation is applied; grayscale, palette, CMYK and alpha become RGB (alpha is dropped); 16 bit and float
    are scaled to 8 bit, not saturated.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: naming the file, where it is missing, no image, truncated, or refused as a decompression bomb.
    """
    with open_image(path) as image:
        return to_rgb(image, path)


def to_rgb(image: Image.Image, path: str | Path) -> NDArray[np.uint8]:
    """The pixels of an opened image, as :func:`decode_image` gives them; ``path`` is for the error."""
    try:
        image.load()
        upright = ImageOps.exif_transpose(image) if orientation(image) != 1 else image
        if upright.mode[0] in "IF":
            return _from_deep(np.asarray(upright))
        if upright.mode in ("P", "PA"):
            upright = upright.convert("RGBA")  # a palette's transparent entries go with it
        return np.array(upright.convert("RGB"))
    except Exception as error:
        raise DataError(f"{path}: not a readable image ({_reason(error)})") from None


def _from_deep(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grayscale of more than 8 bits: the full range of its kind (16 bit, or 0..1 for float) goes to 0..255."""
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0)
    ranges = (1.0, 255.0, 65535.0) if pixels.dtype.kind == "f" else (65535.0,)
    peak = values.max(initial=0.0)
    top = next((limit for limit in ranges if peak <= limit), peak)
    gray = np.rint(values.clip(0, top) * (255.0 / top)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "cannot identify the format" if text.startswith("cannot identify image file") else text
