"""EXIF orientation: what it says, and how pixels and boxes are turned by it."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Exif = Literal["apply", "ignore", "boxes"]
"""Pixels are turned upright, and boxes were drawn on them so | nothing is turned | pixels are turned upright, and
boxes, drawn on the pixels as stored, are turned with them."""

_TAG = 0x0112
_T = TypeVar("_T", bound=np.generic)


def written_orientation(image: Image.Image) -> Any:
    """Return what the tag says, whatever that is; 1 where there is none or EXIF can't be read."""
    try:
        return image.getexif().get(_TAG, 1)
    except Exception:  # broken EXIF is no reason to refuse the pixels
        return 1


def orientation(written: Any) -> int:
    """Return 1 (upright) to 8; 1 for what is none of them (0, 9, 65537, text, several values)."""
    return int(written) if written in range(1, 9) else 1


def turn(pixels: NDArray[_T], turned: int) -> NDArray[_T]:
    """Turn pixels (H, W, ...) as stored upright (EXIF 2.32, tag 0x0112)."""
    if turned in (2, 3, 7):
        pixels = pixels[:, ::-1]
    if turned in (3, 4, 7):
        pixels = pixels[::-1]
    if turned in (5, 7):
        pixels = pixels.swapaxes(0, 1)
    elif turned in (6, 8):
        pixels = np.rot90(pixels, -1 if turned == 6 else 1)
    return np.ascontiguousarray(pixels)


def turn_back(pixels: NDArray[_T], turned: int) -> NDArray[_T]:
    """Undo ``turn``."""
    return turn(pixels, {6: 8, 8: 6}.get(turned, turned))


def turn_boxes(
    boxes: NDArray[np.float64], turned: NDArray[np.integer[Any]], sizes: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Turn boxes (m, 4) xyxy on the pixels as stored upright; orientation (m,) and stored size (m, 2) of their images.

    An inverted box stays inverted.
    """
    boxes = boxes.copy()
    height, width = sizes[:, :1], sizes[:, 1:]
    for side, length, mirrored in ((0, width, (2, 3, 7, 8)), (1, height, (3, 4, 6, 7))):
        rows = np.isin(turned, mirrored)
        boxes[rows, side::2] = (length - boxes[:, [side + 2, side]])[rows]
    swapped = turned >= 5
    boxes[swapped] = boxes[swapped][:, [1, 0, 3, 2]]
    return boxes
