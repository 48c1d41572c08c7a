"""From people's images to a network's input: read, turned, resampled and padded, not yet normalized. No torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright._util.memory import out_of_memory
from boxwright.data.decoded import Decoded, Reduction
from boxwright.data.depth import to_eight_bits
from boxwright.data.images import PLAIN, PixelRule, decode_reduced, from_pil
from boxwright.data.transforms import Frame, InputSize, resample

ImageLike = Any  # torch (3, H, W), numpy (H, W, 3), PIL image or path
Decode = Literal["full", "scaled"]


class Input(NamedTuple):
    """An image at the size of a network's input, not yet normalized."""

    pixels: NDArray[Any]
    """(H, W, 3) uint8 or float32 in 0..255; what lies right of or below the frame's size is padding."""
    frame: Frame
    """The image in it."""
    size: tuple[int, int]
    """(H, W) of the image, which boxes go by."""


@dataclass(frozen=True)
class InputRule:
    """Rule that makes an image a network's input, from a recipe or a model file."""

    size: InputSize
    pixels: PixelRule = PLAIN
    decode: Decode = "full"
    antialias: bool = True
    """Whether a resize averages what it skips; without, pixels are float32."""

    @property
    def reduction(self) -> Reduction | None:
        """Smallest size at which an image may be decoded; None: in full."""
        return None if self.decode == "full" else self.size.reduction

    def prepare(self, image: ImageLike) -> Input:
        """Read a path, a PIL image or an array as the network is to see it.

        Raises DataError for a file that can't be read, ValueError for what is no image, BoxwrightError where there is
        no memory for it.
        """
        if isinstance(image, str | Path):
            decoded = decode_reduced(image, self.pixels, self.reduction)
        else:
            decoded = Decoded.whole(as_rgb(image, self.pixels))
        height, width = decoded.size
        with out_of_memory(f"an image of {height} x {width} pixels", "a model of a smaller image_size takes less"):
            frame = self.size.whole(height, width)
            return Input(_padded(self._resampled(decoded, frame), self.size.multiple), frame, decoded.size)

    def _resampled(self, image: Decoded, frame: Frame) -> NDArray[Any]:
        """(*frame.size, 3) uint8, or float32 in 0..255 without antialias."""
        if self.antialias:
            return resample(image._replace(pixels=as_levels(image.pixels)), frame)
        return resize_bilinear(image.pixels, frame.size)


def _padded(pixels: NDArray[Any], multiple: int) -> NDArray[Any]:
    """Pixels (H, W, 3) with zeros below and right up to sides that are multiples."""
    below, right = (-side % multiple for side in pixels.shape[:2])
    return np.pad(pixels, ((0, below), (0, right), (0, 0))) if below or right else pixels


def resize_bilinear(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize pixels (h, w, 3) to ``size`` (H, W) by the four that are nearest, however many are skipped.

    Pixels are squares, as in torch's ``interpolate`` without antialias and without aligned corners.
    """
    (above, below, down), (left, right, along) = map(_neighbors, pixels.shape[:2], size)
    down, along = down[:, None, None], along[:, None]
    rows = [pixels[each].astype(np.float32) for each in (above, below)]  # (H, w, 3) each
    first, second = (row[:, left] * (1 - along) + row[:, right] * along for row in rows)
    return np.asarray(first * (1 - down) + second * down, np.float32)


def _neighbors(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Find the pixels before and after ``size`` places along a side of ``length`` pixels, and the latter's weight."""
    step = np.float32(length) / np.float32(size)
    middle = np.arange(size, dtype=np.float32) + np.float32(0.5)
    place: NDArray[np.float32] = np.maximum(middle * step - np.float32(0.5), 0)
    before = np.minimum(place.astype(np.int64), length - 1)
    weight: NDArray[np.float32] = (place - before).astype(np.float32)
    return before, np.minimum(before + 1, length - 1), weight


def as_levels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels in 0..255 as whole numbers; as they are where they are that already."""
    return pixels if pixels.dtype == np.uint8 else np.round(pixels).astype(np.uint8)


def each_image(images: Any) -> Sequence[ImageLike]:
    """The images that somebody gave: one, several, or a batch (B, 3, H, W) of torch."""
    if _is_tensor(images) and images.ndim == 4:
        return list(images)
    if isinstance(images, Sequence) and not isinstance(images, str):
        return images
    return [images]


def as_rgb(image: ImageLike, rule: PixelRule = PLAIN) -> NDArray[Any]:
    """Any image in memory that ``predict`` takes, as (H, W, 3) uint8, or float32 in 0..255 where it has floats.

    Arrays are read as files of such pixels are: gray becomes RGB, alpha is dropped, and 16 bits are scaled to 8 by the
    range of ``rule``. Raises ValueError for other shapes, types and values.
    """
    pixels = from_pil(image, rule) if isinstance(image, Image.Image) else _channels_last(image)
    if pixels.size == 0:
        raise ValueError(f"Expected an image with pixels but got {pixels.shape[0]} rows and {pixels.shape[1]} columns")
    if pixels.dtype in (np.uint16, np.int16):
        return to_eight_bits(pixels, rule.limits)
    if pixels.dtype != np.uint8:
        low, high = pixels.min(), pixels.max()
        if not np.issubdtype(pixels.dtype, np.floating) or not (low >= 0 and high <= 1):
            cure = ": divide by 255" if low >= 0 and 1 < high <= 255 and pixels.dtype.kind == "f" else ""
            raise ValueError(
                f"Expected uint8 in 0..255, 16 bits or float in 0..1 but got {pixels.dtype} in {low}..{high}{cure}"
            )
        pixels = np.asarray(pixels, np.float32) * 255
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[..., :3])


def _channels_last(image: Any) -> NDArray[Any]:
    """An array's pixels as (H, W, 1 to 4), from numpy's or torch's order. Raises ValueError for what is no image."""
    pixels: NDArray[Any]
    if _is_tensor(image):
        values = image.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # which numpy lacks
        pixels, order = values.numpy(), "torch (3, H, W)"
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    elif isinstance(image, np.ndarray):
        pixels, order = image, "numpy (H, W, 3)"
    else:
        raise ValueError(f"Expected an image: a path, PIL, {_ARRAYS} but got {type(image).__name__}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise ValueError(f"Expected {_ARRAYS}, or 1, 2 or 4 channels, but got {tuple(image.shape)} as {order}")
    return pixels


def _is_tensor(image: Any) -> bool:
    """Whether it is one of torch's, which somebody who has one has imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


_ARRAYS = "numpy (H, W, 3) or torch (3, H, W)"
