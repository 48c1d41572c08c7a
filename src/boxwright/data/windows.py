"""Augmentation in two halves: the source pixels that an input needs are cut out here, and resampled on the device.

The result is that of ``transforms.resample`` and the light's table: Pillow's triangle filter in its integer arithmetic,
each row resampled first and then each column, both rounded to whole levels. Where Pillow takes columns first, as it
does with some shapes, a pixel differs by a level; it differs by more where the image is so much larger than the input
that the window is reduced first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from boxwright.data.decoded import Decoded
from boxwright.data.transforms import FILL, GAP, Drawn, InputSize, covered

_TAPS = 4 * GAP + 1  # pixels that a filter reaches: a window has fewer than 2 * GAP times the input's sides
_DIGIT = 2**11
_OUTSIDE = -1e9  # a center that no pixel is near to
_AT_ONCE = 2**26  # bytes of windows in float32 that are resampled at a time


class Window(NamedTuple):
    """Rule that makes the pixels (h, w, 3) cut from an image an input of (H, W)."""

    rows: NDArray[np.float64]
    """(H,) where the center of each row lies, in pixels of the window; far outside where it shows no image."""
    columns: NDArray[np.float64]
    """(W,)"""
    scale: tuple[float, float]
    """Half the width of the triangle filter along the rows (y) and columns (x), in pixels of the window."""
    light: NDArray[np.uint8] | None
    """(256, 3), as drawn."""


class Windows(NamedTuple):
    """Rules that make the windows of a batch its inputs."""

    rows: Tensor
    """(B, H) float64"""
    columns: Tensor
    """(B, W) float64"""
    scale: Tensor
    """(B, 2) float64"""
    sides: Tensor
    """(B, 2) rows and columns of the windows that are no padding."""
    light: Tensor
    """(B, 3, 256) uint8"""


class _Side(NamedTuple):
    """One side of a window."""

    start: int
    """First pixel of the decoded image."""
    stop: int
    """Last + 1."""
    factor: int
    """Number of image pixels that become one pixel of the window, along a side."""
    centers: NDArray[np.float64]
    scale: float


def cut_window(image: Decoded, drawn: Drawn) -> tuple[NDArray[np.uint8], Window]:
    """Cut from an image what its input needs, the filter's support included, (h, w, 3)."""
    frame, light = drawn
    shown = covered(frame, image.size)
    if shown.empty:
        rows, columns = (np.full(side, _OUTSIDE) for side in frame.size)
        return np.full((1, 1, 3), FILL, np.uint8), Window(rows, columns, (1.0, 1.0), light)
    x0, y0, x1, y1 = image.place(shown.source)
    y = _side(shown.rows, (y0, y1), image.pixels.shape[0], frame.size[0])
    x = _side(shown.columns, (x0, x1), image.pixels.shape[1], frame.size[1])
    pixels = image.pixels[y.start : y.stop, x.start : x.stop]
    if (x.factor, y.factor) != (1, 1):
        pixels = np.asarray(Image.fromarray(pixels).reduce((x.factor, y.factor)))
    rows = y.centers[::-1] if frame.mirror_y else y.centers
    columns = x.centers[::-1] if frame.mirror_x else x.centers
    return pixels, Window(rows, columns, (y.scale, x.scale), light)


def _side(places: tuple[int, int], source: tuple[float, float], length: int, size: int) -> _Side:
    """The pixels of an image side of ``length`` that the ``places`` of an input side of ``size`` show of ``source``."""
    first, last = places
    begin, end = np.float32(source[0]), np.float32(source[1])  # as Pillow takes them
    step = float(end - begin) / (last - first)
    factor = max(int(step / GAP), 1)
    centers = float(begin) + (np.arange(last - first) + 0.5) * step
    support = max(step, 1.0) + (factor if factor > 1 else 0)  # a mean counts where its center does
    start = max(math.floor(centers[0] - support), 0)
    stop = min(math.ceil(centers[-1] + support), length)
    every = np.full(size, _OUTSIDE)
    every[first:last] = (centers - start) / factor
    return _Side(start, stop, factor, every, max(step / factor, 1.0))


def largest_window(image: tuple[int, int], size: InputSize) -> int:
    """The most pixels that a window of an image of this size (H, W) can have."""
    sides = size.whole(*image).size
    return math.prod(min(length, 2 * GAP * (side + 2)) for length, side in zip(image, sides, strict=True))


def stack_windows(windows: Sequence[Window], sides: Sequence[tuple[int, ...]], size: tuple[int, int]) -> Windows:
    """The windows of a batch whose inputs are padded on the right and below to ``size`` (H, W); ``sides`` (h, w)."""
    rows, columns = (np.full((len(windows), side), _OUTSIDE) for side in size)
    light = np.repeat(np.arange(256, dtype=np.uint8)[None, None], len(windows), 0).repeat(3, 1)
    for row, window in enumerate(windows):
        rows[row, : len(window.rows)] = window.rows
        columns[row, : len(window.columns)] = window.columns
        if window.light is not None:
            light[row] = window.light.T
    return Windows(
        torch.from_numpy(rows),
        torch.from_numpy(columns),
        torch.tensor([window.scale for window in windows], dtype=torch.float64),
        torch.tensor([side[:2] for side in sides]),
        torch.from_numpy(light),
    )


def resample_windows(pixels: Tensor, windows: Windows, shown: Tensor | None = None) -> Tensor:
    """Source pixels (B, 3, h, w) uint8 -> inputs (B, 3, H, W) uint8, channels last in memory.

    It is computed where the tensors are, and never waits for the device. ``shown``: the (B, 2) rows and columns that
    show something; the rest is gray.
    """
    batch, _, height, width = pixels.shape
    out = torch.empty(
        (batch, 3, windows.rows.shape[1], windows.columns.shape[1]),
        dtype=torch.uint8,
        device=pixels.device,
        memory_format=torch.channels_last,
    )
    step = max(_AT_ONCE // (12 * height * width), 1)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=False):
        for start in range(0, batch, step):
            part = slice(start, start + step)
            out[part] = _resample(pixels[part], Windows(*(value[part] for value in windows)))
    if shown is not None:
        rows, columns = (torch.arange(side, device=out.device) for side in out.shape[-2:])
        inside = (rows < shown[:, :1])[:, None, :, None] & (columns < shown[:, 1:])[:, None, None, :]
        out.masked_fill_(~inside, FILL)
    return out


def _resample(pixels: Tensor, windows: Windows) -> Tensor:
    """(B, 3, H, W) uint8, by two matrix products a direction."""
    batch, _, height, width = pixels.shape
    across, in_columns = _weights(windows.columns, windows.scale[:, 1], windows.sides[:, 1], width)  # (2, B, W, w)
    down, in_rows = _weights(windows.rows, windows.scale[:, 0], windows.sides[:, 0], height)  # (2, B, H, h)
    flat = pixels.to(torch.float32, memory_format=torch.contiguous_format).view(batch, 3 * height, width)
    wide = _levels(flat @ across[0].mT, flat @ across[1].mT).view(batch, 3, height, -1)
    levels = _levels(down[0, :, None] @ wide, down[1, :, None] @ wide).long()  # (B, 3, H, W)
    levels.masked_fill_(~(in_rows[:, None, :, None] & in_columns[:, None, None, :]), FILL)
    return windows.light.gather(2, levels.flatten(2)).view_as(levels)


def _weights(centers: Tensor, scale: Tensor, sides: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Upper and lower digit (2, B, n, length) of each pixel's weight for n centers (B, n), and which of these show any.

    A weight is a whole number of 2^-22, as in Pillow; its digits are below 2^11, so that float32 (and TF32 too) holds
    every product with a level, and every sum of these, exactly: the order in which a device adds doesn't matter.
    """
    scale, sides = scale[:, None, None], sides[:, None, None]
    first = (centers[..., None] - scale + 0.5).floor()
    place = first + torch.arange(_TAPS, device=centers.device)  # (B, n, taps)
    valid = (place >= 0) & (place < sides)
    weights = (1 - ((place - centers[..., None] + 0.5) / scale).abs()).clamp_(min=0) * valid
    total = weights.sum(-1, keepdim=True)
    steps = (weights / total.clamp(min=0.5) * 2**22 + 0.5).floor()
    upper = (steps / _DIGIT).floor()
    digits = torch.stack([upper, steps - upper * _DIGIT]).float()
    spare = torch.where(valid, place, length).long().expand_as(digits)  # what lies beyond goes to one more column
    spread = torch.zeros(*digits.shape[:3], length + 1, device=centers.device).scatter_(3, spare, digits)
    return spread[..., :length], total[..., 0] > 0


def _levels(upper: Tensor, lower: Tensor) -> Tensor:
    """Sums by digit -> whole levels."""
    return (upper + (lower / _DIGIT).floor_()).add_(_DIGIT / 2).div_(_DIGIT).floor_()
