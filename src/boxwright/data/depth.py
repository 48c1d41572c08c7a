"""Pixels of more than 8 bits, and which of their values become 0 to 255."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]
"""The values that become 0 and 255; those beyond are cut."""

_TAILS = (0.1, 99.9)
"""Percentiles that a range spans: a sensor's dead and hot pixels are beyond them."""
_MOST_VALUES = 250_000  # of an image that a percentile is taken of


def to_eight_bits(pixels: NDArray[Any], limits: Range | None) -> NDArray[np.uint8]:
    """Scale pixels (H, W) or (H, W, C) of any type to (H, W, 3) uint8. ``limits`` None: by their own range.

    Of one channel or two the first is gray; more than three are RGB and alpha, which is dropped. What is no number
    becomes 0, and so does all where all values are equal.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]
    limits = limits or span(pixels)
    if limits is None:
        return np.zeros((*pixels.shape[:2], 3), np.uint8)
    low, high = limits
    values = np.nan_to_num(pixels.astype(np.float64), nan=low, posinf=high, neginf=low).clip(low, high)
    eight = np.rint((values - low) * (255.0 / (high - low))).astype(np.uint8)
    return eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=2)


def span(values: NDArray[Any]) -> Range | None:
    """Return the range that shows the content, without outlying pixels; None if all values are equal."""
    known = sample(values)
    known = known[np.isfinite(known)]
    if not known.size:
        return None
    low = float(np.percentile(known, _TAILS[0], method="lower"))
    high = float(np.percentile(known, _TAILS[1], method="higher"))
    if low == high:  # nearly all is background
        low, high = float(known.min()), float(known.max())
    return (low, high) if low < high else None


def sample(pixels: NDArray[Any], most: int = _MOST_VALUES) -> NDArray[np.float64]:
    """Sample at most about ``most`` pixels (H, W) or (H, W, 3), evenly spread, in one row."""
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / most) ** 0.5))
    return pixels[::step, ::step].astype(np.float64).ravel()


def extent(pixels: NDArray[Any]) -> Range:
    """Return the lowest and the highest finite value."""
    known = pixels[np.isfinite(pixels)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
