"""Augmentation that chooses its window first and resamples once.

A ``Frame`` is the rectangle of the image that the network's input shows; it may reach beyond the image, which is filled
with gray. Boxes are float xyxy throughout: in pixels of the image before, of the input after.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright.data.decoded import Decoded
from boxwright.parts import name_of

FILL = 114
"""Gray level of what lies outside the image."""
GAP = 2
"""Large images are averaged in blocks before the resample, but keep at least this many times the input's pixels a side,
so that its filter hides the blocks (Pillow's ``reducing_gap``)."""

BATCH_MULTIPLE = 32
"""Sides of batches of images of different sizes are padded to multiples of it, as in torchvision."""
_MIN_VISIBLE = 0.3  # a box keeps its place while this share of its area is in the frame
_MIN_SIDE = 2.0  # pixels of the input; less can't be learned
_CROP_OVERLAPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # SSD (arXiv:1512.02325), section 2.2; None: the whole image
_SMALLEST_CROP = 0.3  # of the image's side; section 2.2 has .1 of its area
_CLOSEST = 1.6
_ASPECT = 0.2

Resize = Literal["squash", "pad", "shortest"]
Own = Callable[[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64], np.random.Generator], Any]
"""``(image, boxes, labels, rng) -> the same three``; boxes are xyxy in pixels of the image."""


@dataclass(frozen=True)
class InputSize:
    """Size at which an image is shown to the network.

    "squash": stretched to a square of ``side`` pixels; "pad": in the middle of one, with its aspect kept; "shortest":
    with its aspect kept and a shorter side of ``side`` pixels, less where the longer would exceed ``longest``.
    """

    side: int
    resize: Resize = "squash"
    longest: int = 1333

    @property
    def multiple(self) -> int:
        """Number of pixels that the sides of a batch are multiples of, with padding to the right and below."""
        return BATCH_MULTIPLE if self.resize == "shortest" else 1

    def whole(self, height: int, width: int) -> Frame:
        """The frame that shows all of an image of this size."""
        if self.resize == "squash":
            return Frame(0, 0, width, height, (self.side, self.side))
        if self.resize == "shortest":
            scale = min(self.side / min(height, width), self.longest / max(height, width))
            return Frame(0, 0, width, height, (max(1, int(height * scale)), max(1, int(width * scale))))
        side = max(height, width)
        x0, y0 = (width - side) / 2, (height - side) / 2
        return Frame(x0, y0, x0 + side, y0 + side, (self.side, self.side))

    def reduction(self, height: int, width: int, zoom: float = GAP) -> int:
        """The most of 1, 2, 4 and 8 that leaves an image of this size ``zoom`` times the pixels a side of its input."""
        whole = self.whole(height, width)
        rows, columns = whole.size
        spare = min((whole.x1 - whole.x0) / columns, (whole.y1 - whole.y0) / rows) / zoom
        return max((factor for factor in (2, 4, 8) if factor <= spare), default=1)


@dataclass(frozen=True)
class Frame:
    """The rectangle x0, y0, x1, y1 of an image (pixels) that fills an input of ``size`` (H, W), mirrored or not."""

    x0: float
    y0: float
    x1: float
    y1: float
    size: tuple[int, int]
    mirror_x: bool = False
    mirror_y: bool = False

    def to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) in pixels of the image -> in pixels of the input."""
        scale, origin = self._map()
        moved = (boxes - origin) * scale
        if self.mirror_x:
            moved[:, [0, 2]] = self.size[1] - moved[:, [2, 0]]
        if self.mirror_y:
            moved[:, [1, 3]] = self.size[0] - moved[:, [3, 1]]
        return moved.astype(np.float32)

    def to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The way back. The frame must not be mirrored."""
        scale, origin = self._map()
        return (boxes / scale + origin).astype(np.float32)

    def _map(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, columns = self.size
        scale = np.array([columns / (self.x1 - self.x0), rows / (self.y1 - self.y0)], np.float64)
        return np.tile(scale, 2), np.tile(np.array([self.x0, self.y0], np.float64), 2)


class Covered(NamedTuple):
    """The pixels of an input, not yet mirrored, whose center lies in the image, and what of the image they show."""

    columns: tuple[int, int]
    """First and last + 1."""
    rows: tuple[int, int]
    source: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the image."""

    @property
    def empty(self) -> bool:
        """Whether the input shows nothing of the image."""
        return self.columns[1] <= self.columns[0] or self.rows[1] <= self.rows[0]


def covered(frame: Frame, size: tuple[int, ...]) -> Covered:
    """Return the part of an image of ``size`` (H, W) that a frame shows, and its place in the input."""
    height, width = size
    rows, columns = frame.size
    step_x, step_y = (frame.x1 - frame.x0) / columns, (frame.y1 - frame.y0) / rows
    # Whole pixels of the input that lie in the image; the source rectangle follows them, so nothing shifts
    left, right = _inside(frame.x0, step_x, width, columns)
    top, bottom = _inside(frame.y0, step_y, height, rows)
    source = (
        max(frame.x0 + left * step_x, 0.0),
        max(frame.y0 + top * step_y, 0.0),
        min(frame.x0 + right * step_x, float(width)),
        min(frame.y0 + bottom * step_y, float(height)),
    )
    return Covered((left, right), (top, bottom), source)


def _inside(origin: float, step: float, length: int, size: int) -> tuple[int, int]:
    """First and last + 1 of the input's pixels whose center lies in an image side of ``length`` pixels."""
    first = math.ceil(-origin / step - 0.5)
    last = math.ceil((length - origin) / step - 0.5)
    return min(max(first, 0), size), min(max(last, 0), size)


def resample(image: Decoded, frame: Frame) -> NDArray[np.uint8]:
    """The image as its frame shows it, (*frame.size, 3): one antialiased bilinear resize."""
    (left, right), (top, bottom), source = shown = covered(frame, image.size)
    out = np.full((*frame.size, 3), FILL, np.uint8)
    if not shown.empty:
        pixels, box = Image.fromarray(image.pixels), image.place(source)
        resized = pixels.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=box)
        out[top:bottom, left:right] = np.asarray(resized)
    if frame.mirror_x:
        out = out[:, ::-1]
    if frame.mirror_y:
        out = out[::-1]
    return np.ascontiguousarray(out)


class Drawn(NamedTuple):
    """Result of an augmentation."""

    frame: Frame
    light: NDArray[np.uint8] | None
    """(256, 3) level of each level of each channel; None: as they are."""


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images.

    ``light`` (zoom, aspect and light in one resize; measured against narrower and wider zoom and mosaic) or ``ssd``
    (zoom-out, IoU crop and strong color; arXiv:1512.02325, sections 2.2 and 3.6), or ``none``.
    """

    kind: Literal["none", "light", "ssd"] = "light"
    flip: Literal["none", "horizontal", "both"] = "horizontal"
    own: Own | None = None
    """Somebody's own, before the rest, on the whole image."""

    @property
    def closest(self) -> float:
        """Largest factor by which an input may enlarge a side compared with the whole image."""
        return {"none": 1.0, "light": _CLOSEST * math.exp(_ASPECT / 2), "ssd": 1 / _SMALLEST_CROP}[self.kind]

    def __call__(
        self, image: Decoded, boxes: NDArray[np.float32], size: InputSize, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
        """Image, boxes (n, 4) -> input of that size (H, W, 3), its boxes (m, 4), and which m stayed."""
        drawn, moved, kept = self.draw(image.size, boxes, size, rng)
        return show(image, drawn), moved, kept

    def draw(
        self, shape: tuple[int, ...], boxes: NDArray[np.float32], size: InputSize, rng: np.random.Generator
    ) -> tuple[Drawn, NDArray[np.float32], NDArray[np.int64]]:
        """Draw the augmentation of an image of ``shape`` (H, W), its boxes (m, 4), and which of them stay."""
        frame = self._frame(shape, boxes, size, rng)
        light = None if self.kind == "none" else light_table(rng, strong=self.kind == "ssd")
        moved, kept = keep_visible(frame.to_input(boxes), frame.size, drop_hidden=self.kind != "none")
        return Drawn(frame, light), moved, kept

    def _frame(
        self, shape: tuple[int, ...], boxes: NDArray[np.float32], size: InputSize, rng: np.random.Generator
    ) -> Frame:
        whole = size.whole(*shape[:2])
        window = (whole.x0, whole.y0, whole.x1, whole.y1)
        if self.kind == "light" and rng.random() < 0.8:
            window = _zoom(window, rng)
        elif self.kind == "ssd":
            window = _zoom_out(window, rng) if rng.random() < 0.5 else _iou_crop(window, boxes, rng)
        mirror_x = self.flip != "none" and rng.random() < 0.5
        mirror_y = self.flip == "both" and rng.random() < 0.5
        return Frame(*window, whole.size, mirror_x, mirror_y)


def apply_own(
    own: Own,
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    ignore: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Run a custom augmentation on an image (H, W, 3), boxes (n, 4), labels (n,) and ignore (n,).

    It sees the label -1 for boxes that are ignored. Raises ValueError where it gives back something else.
    """
    found = own(image.copy(), boxes.copy(), np.where(ignore, -1, labels), rng)
    name = name_of(own)
    if not isinstance(found, tuple) or len(found) != 3:
        what = f"{len(found)} values" if isinstance(found, tuple) else type(found).__name__
        raise ValueError(f"Expected image, boxes and labels from {name} but got {what}")
    image, boxes, labels = (np.ascontiguousarray(value) for value in found)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"Expected an image (H, W, 3) uint8 from {name} but got {image.dtype} {image.shape}")
    boxes, labels = boxes.reshape(-1, 4).astype(np.float32), labels.astype(np.int64)
    if labels.shape != (len(boxes),):
        raise ValueError(f"Expected a label for each box from {name} but got {labels.shape}, {boxes.shape}")
    return image, boxes, np.maximum(labels, 0), labels < 0


Window = tuple[float, float, float, float]


def _zoom(window: Window, rng: np.random.Generator) -> Window:
    """A window of 1 / 1.6 to 1 / .55 times the size and slightly another aspect, somewhere over the first."""
    x0, y0, x1, y1 = window
    zoom = math.exp(rng.uniform(math.log(0.55), math.log(_CLOSEST)))
    aspect = math.exp(rng.uniform(-_ASPECT, _ASPECT))
    width, height = (x1 - x0) / zoom * math.sqrt(aspect), (y1 - y0) / zoom / math.sqrt(aspect)
    left = x0 + rng.uniform() * (x1 - x0 - width)
    top = y0 + rng.uniform() * (y1 - y0 - height)
    return left, top, left + width, top + height


def _zoom_out(window: Window, rng: np.random.Generator) -> Window:
    """The image somewhere on a canvas of up to 4 times its side."""
    x0, y0, x1, y1 = window
    ratio = rng.uniform(1, 4)
    width, height = (x1 - x0) * ratio, (y1 - y0) * ratio
    left = x0 - rng.uniform() * (width - (x1 - x0))
    top = y0 - rng.uniform() * (height - (y1 - y0))
    return left, top, left + width, top + height


def _iou_crop(window: Window, boxes: NDArray[np.float32], rng: np.random.Generator) -> Window:
    """A window whose IoU with some box is at least a random minimum, holding some box's center; or the whole."""
    x0, y0, x1, y1 = window
    least = _CROP_OVERLAPS[rng.integers(len(_CROP_OVERLAPS))]
    if least is None or len(boxes) == 0:
        return window
    for _ in range(50):
        width, height = (x1 - x0) * rng.uniform(_SMALLEST_CROP, 1), (y1 - y0) * rng.uniform(_SMALLEST_CROP, 1)
        if not 0.5 <= width / height * (y1 - y0) / (x1 - x0) <= 2:
            continue
        left = x0 + rng.uniform() * (x1 - x0 - width)
        top = y0 + rng.uniform() * (y1 - y0 - height)
        crop = np.array([left, top, left + width, top + height])
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centers > crop[:2]) & (centers < crop[2:])).all(1)
        if inside.any() and _overlaps(crop, boxes).max() >= least:
            return left, top, left + width, top + height
    return window


def _overlaps(crop: NDArray[np.float64], boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU (n,) of a crop with boxes (n, 4), 0 where both are empty."""
    sides = np.clip(np.minimum(crop[2:], boxes[:, 2:]) - np.maximum(crop[:2], boxes[:, :2]), 0, None)
    shared = sides.prod(1)
    union = (crop[2:] - crop[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def show(image: Decoded, drawn: Drawn) -> NDArray[np.uint8]:
    """The image as it was drawn, (*frame.size, 3)."""
    shown = resample(image, drawn.frame)
    if drawn.light is None:
        return shown
    return np.stack([drawn.light[shown[..., channel], channel] for channel in range(3)], axis=-1)


def light_table(rng: np.random.Generator, *, strong: bool = False) -> NDArray[np.uint8] | None:
    """Draws brightness, contrast and channel gains as one look-up table (256, 3), with probability .7."""
    if rng.random() >= 0.7:
        return None
    reach = 0.5 if strong else 0.2
    brightness, contrast = rng.uniform(1 - reach, 1 + reach, 2)
    gains = rng.uniform(1 - reach / 3, 1 + reach / 3, 3)
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = ((levels * brightness - 128) * contrast + 128) * gains.astype(np.float32)
    levels_after: NDArray[np.uint8] = np.clip(table + 0.5, 0, 255).astype(np.uint8)
    return levels_after


def keep_visible(
    boxes: NDArray[np.float32], size: tuple[int, int], *, drop_hidden: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clip boxes (n, 4) to an input of ``size`` (H, W); also return the indices of the boxes that are kept.

    ``drop_hidden``: less than 30 % visible or a side below 2 px is dropped. Boxes that are not finite go in any case.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        clipped = np.clip(boxes, 0, np.array([*reversed(size)] * 2, boxes.dtype))
        sides = clipped[:, 2:] - clipped[:, :2]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        stays = np.isfinite(boxes).all(1) & (sides > 0).all(1)
        if drop_hidden:
            stays &= (sides >= _MIN_SIDE).all(1) & (sides.prod(1) >= _MIN_VISIBLE * area)
    kept = np.flatnonzero(stays)
    return clipped[kept], kept
