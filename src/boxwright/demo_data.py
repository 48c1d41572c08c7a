"""A small data set to try the whole job on: real handwritten digits, scattered over textured backgrounds.

The digits are those that scikit-learn ships (Alpaydin and Kaynak, 1998: 1,797 samples of 8x8 pixels). They are
enlarged smoothly, turned, colored and laid over gradients, noise, stripes and clutter, and written as JPEG images and
COCO JSON, so that the set goes through the same reader as anybody's own images. No handwritten sample is in two splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from boxwright._util.ownership import claim
from boxwright._util.writing import write_json, written_aside
from boxwright.errors import DataError

Floats = NDArray[np.float32]

DEFAULT_IMAGES: Mapping[str, int] = MappingProxyType({"train": 500, "val": 60, "test": 120})
CLASSES = tuple("0123456789")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The digits' names in words, which stand apart from scores beside them."""

_SPLIT_SHARES = {"train": (0.0, 0.70), "val": (0.70, 0.80), "test": (0.80, 1.0)}
_POOL = 20_000  # samples drawn of the training split where digits aren't equally frequent
_SCRAP_SIDES = (1 / 8, 1 / 4)
_MIN_CONTRAST = 0.30  # of luminance between ink and the background under it, 0..1
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Layout:
    """Arrangement of the digits in an image."""

    fewest: int = 1
    most: int = 12
    """Largest number of digits in an image; fewer if no place is left."""
    empty: float = 0.05
    """Share of the images that hold clutter and no digit."""
    sides: tuple[float, float] = (1 / 8, 1 / 3)
    """Longer side of a digit, as a share of the image's side."""
    visible: float = 0.90
    """Share of a digit's ink that stays visible under later ones."""
    alike: bool = False
    """Whether all digits of an image are of one class."""


class Scene(NamedTuple):
    """One composed image and what is in it."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    boxes: NDArray[np.float64]
    """(n, 4) xyxy pixels, tight around the visible ink."""
    labels: NDArray[np.int64]
    """(n,) the digits, 0..9."""


def make_digits(
    folder: str | Path,
    *,
    images: Mapping[str, int] = DEFAULT_IMAGES,
    size: int = 192,
    seed: int = 0,
    layout: Layout = Layout(),
    shares: Sequence[float] | None = None,
    classes: Sequence[str] = CLASSES,
    overwrite: bool = False,
) -> Path:
    """Write ``images/<split>/*.jpg`` and ``annotations/instances_<split>.json`` under ``folder``, which is returned.

    ``images`` gives the number of images of the splits train, val and test; ``size`` is their side in pixels, 64 or
    more. ``shares`` (10,): how often each digit comes up in the training split, relative to the others; None: as often
    as people wrote it. ``classes`` (10,) are the names of the digits. The same arguments give the same bytes on one
    machine, and image i does not depend on how many follow it. Raises DataError for another split, a smaller size, or
    where scikit-learn is not installed; WriteError where one of the files is there, unless it is to ``overwrite`` them.
    """
    unknown = sorted(set(images) - set(_SPLIT_SHARES))
    if unknown or size < 64:
        raise DataError(f"Expected splits among {', '.join(_SPLIT_SHARES)} and a size >= 64, got {unknown} and {size}")
    folder = Path(folder)
    for split, count in images.items():
        claim(
            _annotations(folder, split), *(_image(folder, split, i) for i in range(1, count + 1)), overwrite=overwrite
        )
    glyphs, labels = _load_glyphs()
    order = np.random.default_rng(seed).permutation(len(labels))
    for number, (split, (start, stop)) in enumerate(_SPLIT_SHARES.items()):
        if split in images:
            pool = order[round(start * len(order)) : round(stop * len(order))]
            if split == "train" and shares is not None:
                pool = _draw_pool(np.random.default_rng([seed, len(_SPLIT_SHARES)]), pool, labels[pool], shares)
            scenes = (
                compose(np.random.default_rng([seed, number, i]), glyphs[pool], labels[pool], size, layout)
                for i in range(images[split])
            )
            _write_split(folder, split, scenes, classes)
    return folder


def compose(
    rng: np.random.Generator,
    glyphs: NDArray[np.float64],
    labels: NDArray[np.int64],
    size: int,
    layout: Layout = Layout(),
) -> Scene:
    """Draw one scene from a pool of handwritten samples: ``glyphs`` (n, 8, 8) in 0..1 and their ``labels`` (n,)."""
    canvas = _background(rng, size)
    for _ in range(rng.integers(0, 5)):
        _CLUTTER[rng.integers(len(_CLUTTER))](rng, canvas, glyphs)
    owner = np.full((size, size), -1, dtype=np.int64)
    inks: list[int] = []
    found: list[int] = []
    count = 0 if rng.random() < layout.empty else int(rng.integers(layout.fewest, layout.most + 1))
    if layout.alike:
        own = labels == rng.choice(labels)
        glyphs, labels = glyphs[own], labels[own]
    for _ in range(count):
        pick = int(rng.integers(len(labels)))
        side = size * float(np.exp(rng.uniform(*np.log(layout.sides))))
        alpha = _digit_alpha(rng, glyphs[pick], side)
        place = _free_place(rng, alpha >= 0.5, owner, inks, layout.visible)
        if place is not None:
            owner[place][alpha >= 0.5] = len(inks)
            inks.append(int((alpha >= 0.5).sum()))
            found.append(int(labels[pick]))
            canvas[place] = _blend(canvas[place], alpha * np.float32(rng.uniform(0.88, 1.0)), _ink(rng, canvas[place]))
    canvas += np.float32(rng.uniform(0.003, 0.02)) * rng.standard_normal(canvas.shape, dtype=np.float32)
    image = np.rint(canvas.clip(0, 1) * 255).astype(np.uint8)
    boxes = np.array([_bounds(owner == i) for i in range(len(inks))], dtype=np.float64).reshape(-1, 4)
    return Scene(image, boxes, np.array(found, dtype=np.int64))


def _draw_pool(
    rng: np.random.Generator, pool: NDArray[np.int64], labels: NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.int64]:
    """Samples of the pool (n,) with their labels (n,), as often as each label's share says."""
    weights = np.asarray(shares, float)[labels] / np.bincount(labels, minlength=len(shares))[labels]
    return rng.choice(pool, _POOL, p=weights / weights.sum())


def _load_glyphs() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("The demo's digits come with scikit-learn: pip install 'boxwright[demo]'") from error
    digits = load_digits()
    return digits.images / 16.0, digits.target.astype(np.int64)


# --- digits


def _digit_alpha(rng: np.random.Generator, glyph: NDArray[np.float64], side: float) -> Floats:
    """Draw the opacity (h, w) of a digit, its longer side about ``side`` pixels, cropped to its ink."""
    padded = np.zeros((10, 10))
    padded[1:-1, 1:-1] = glyph
    smooth = _resize(padded, (80, 80))
    image = Image.fromarray(smooth).rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR)
    shape = _smoothstep(np.asarray(image), 0.36, 0.62)
    left, top, right, bottom = _bounds(shape >= 0.5)
    shape = shape[top:bottom, left:right]
    height, width = shape.shape
    width = round(width * rng.uniform(0.85, 1.15))
    scale = side / max(height, width)
    enlarged = _resize(shape, (max(4, round(height * scale)), max(4, round(width * scale))))
    return np.clip(enlarged, 0, 1, out=enlarged)


def _free_place(
    rng: np.random.Generator, mask: NDArray[np.bool_], owner: NDArray[np.int64], inks: list[int], visible: float
) -> tuple[slice, slice] | None:
    """Draw a random place where ``mask`` leaves ``visible`` of every digit below; None after twelve tries."""
    height, width = mask.shape
    seen = np.bincount(owner.ravel() + 1, minlength=len(inks) + 1)
    for _ in range(12):
        top = int(rng.integers(1, owner.shape[0] - height))
        left = int(rng.integers(1, owner.shape[1] - width))
        place = (slice(top, top + height), slice(left, left + width))
        remaining = seen - np.bincount(owner[place][mask] + 1, minlength=len(seen))
        if (remaining[1:] >= visible * np.array(inks)).all():
            return place
    return None


def _ink(rng: np.random.Generator, under: Floats) -> Floats:
    """Draw a random color (3,), moved towards black or white until it stands out from the patch ``under`` it."""
    color = rng.uniform(0, 1, 3).astype(np.float32)
    ground = float((under @ _LUMA).mean())
    end = np.float32(0.0 if rng.random() < ground else 1.0)
    if abs(end - ground) < _MIN_CONTRAST + 0.1:
        end = 1 - end
    for _ in range(8):
        luma = float(color @ _LUMA)
        if abs(luma - ground) >= _MIN_CONTRAST and (luma < ground) == (end == 0):
            break
        color = color + (end - color) * np.float32(0.35)
    return color


# --- backgrounds


def _background(rng: np.random.Generator, size: int) -> Floats:
    """Draw (size, size, 3) in 0..1: a gradient of two related colors, octaves of noise and often lines."""
    base = _hue_color(rng)
    other = (base + rng.normal(0, 0.12, 3).astype(np.float32)).clip(0, 1)
    angle = rng.uniform(0, 2 * np.pi)
    steps = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = steps * np.float32(np.cos(angle)) + steps[:, None] * np.float32(np.sin(angle))
    canvas = _blend(base, (across + np.float32(0.5)).clip(0, 1), other)
    light = np.float32(rng.uniform(0.01, 0.12)) * _noise(rng, size)
    kind = rng.random()
    if kind < 0.6:
        across = np.float32(rng.uniform(4, 20)) * across
        if kind < 0.4:  # bent
            across += np.float32(rng.uniform(0, 0.5)) * _noise(rng, size, finest=6)
        waves = np.sin(np.float32(2 * np.pi) * across)
        if kind > 0.25:  # thin lines as on paper, rather than soft stripes
            waves = np.float32(rng.choice([-1.5, 1.5])) * _smoothstep(waves, 0.8, 1.0)
        light += np.float32(rng.uniform(0.03, 0.09)) * waves
    canvas += light[..., None]
    if rng.random() < 0.4:
        for channel in range(3):
            canvas[..., channel] += np.float32(0.04) * _noise(rng, size, finest=24)
    return np.clip(canvas, 0, 1, out=canvas)


def _hue_color(rng: np.random.Generator) -> Floats:
    """Draw a color (3,) of muted saturation and any lightness."""
    hue = rng.uniform(0, 2 * np.pi)
    tint = np.cos(hue + np.array([0, 2, 4]) * np.pi / 3)
    color = rng.uniform(0.08, 0.92) + rng.uniform(0, 0.22) * tint
    return color.clip(0.02, 0.98).astype(np.float32)


def _noise(rng: np.random.Generator, size: int, finest: int = 64) -> Floats:
    """Draw smooth noise (size, size) of about unit variance: octaves of 3, 6, 12 ... cells, each half as strong."""
    cells, weight = 3, 1.0
    total = rng.normal(size=(cells, cells))
    while 2 * cells <= finest:
        cells, weight = 2 * cells, weight / 2
        total = _resize(total, (cells, cells)) + weight * rng.normal(size=(cells, cells))
    return _resize(total, (size, size))


# --- clutter: things that are no digits


def _strokes(rng: np.random.Generator, canvas: Floats, glyphs: NDArray[np.float64]) -> None:
    """Draw a long bent pen stroke."""
    size = len(canvas)
    t = np.linspace(0, 1, 24)[:, None]
    a, b, c = rng.uniform(-0.1, 1.1, (3, 2)) * size
    points = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    layer, draw = _layer(size)
    draw.line([tuple(p) for p in points * 2], fill=255, width=int(rng.integers(2, 9)), joint="curve")
    _lay(rng, canvas, layer)


def _blobs(rng: np.random.Generator, canvas: Floats, glyphs: NDArray[np.float64]) -> None:
    """Draw a soft stain."""
    size = len(canvas)
    layer, draw = _layer(size)
    x, y = rng.uniform(0, 2 * size, 2)
    w, h = rng.uniform(0.08, 0.5, 2) * size
    draw.ellipse((x - w, y - h, x + w, y + h), fill=255)
    _lay(rng, canvas, layer.filter(ImageFilter.GaussianBlur(rng.uniform(1, 0.08 * size))))


def _dots(rng: np.random.Generator, canvas: Floats, glyphs: NDArray[np.float64]) -> None:
    """Draw a spray of small dots."""
    size = len(canvas)
    layer, draw = _layer(size)
    centers = rng.uniform(0, 2 * size, 2) + rng.normal(0, 0.35 * size, (int(rng.integers(8, 40)), 2))
    for (x, y), r in zip(centers, rng.uniform(1, 5, len(centers)), strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
    _lay(rng, canvas, layer)


def _corners(rng: np.random.Generator, canvas: Floats, glyphs: NDArray[np.float64]) -> None:
    """Draw an angular figure: a cross, a hook or a filled triangle."""
    size = len(canvas)
    layer, draw = _layer(size)
    center = rng.uniform(0.1, 1.9, 2) * size
    angles = rng.uniform(0, 2 * np.pi) + np.array([0.0, 2.1, 4.2, 5.6])
    points = [tuple(p) for p in center + rng.uniform(0.1, 0.4) * size * np.c_[np.cos(angles), np.sin(angles)]]
    width = int(rng.integers(3, 10))
    kind = rng.integers(3)
    if kind == 0:
        draw.polygon(points[:3], fill=255)
    elif kind == 1:
        draw.line(points[:3], fill=255, width=width, joint="curve")
    else:
        draw.line([points[0], points[2]], fill=255, width=width)
        draw.line([points[1], points[3]], fill=255, width=width)
    _lay(rng, canvas, layer)


def _scraps(rng: np.random.Generator, canvas: Floats, glyphs: NDArray[np.float64]) -> None:
    """Handwriting that is no digit: the quarters of a sample, turned and in another order."""
    glyph = glyphs[rng.integers(len(glyphs))]
    quarters = [np.rot90(glyph[i : i + 4, j : j + 4], int(rng.integers(1, 4))) for i in (0, 4) for j in (0, 4)]
    a, b, c, d = (quarters[i] for i in rng.permutation(4))
    size = len(canvas)
    alpha = _digit_alpha(rng, np.block([[a, b], [c, d]]), size * rng.uniform(*_SCRAP_SIDES))
    height, width = alpha.shape
    top, left = int(rng.integers(0, size - height)), int(rng.integers(0, size - width))
    place = (slice(top, top + height), slice(left, left + width))
    canvas[place] = _blend(canvas[place], alpha * np.float32(0.9), _ink(rng, canvas[place]))


_CLUTTER = (_strokes, _blobs, _dots, _corners, _scraps)


def _layer(size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Make a mask of twice the size, to draw on and shrink: Pillow's lines are not antialiased."""
    layer = Image.new("L", (2 * size, 2 * size))
    return layer, ImageDraw.Draw(layer)


def _lay(rng: np.random.Generator, canvas: Floats, layer: Image.Image) -> None:
    layer = layer.reduce(2)
    box = layer.getbbox()
    if box is not None:
        left, top, right, bottom = box
        alpha = np.asarray(layer.crop(box), dtype=np.float32) * np.float32(rng.uniform(0.25, 0.8) / 255)
        canvas[top:bottom, left:right] = _blend(canvas[top:bottom, left:right], alpha, _hue_color(rng))


# --- pixels


def _blend(under: Floats, alpha: Floats, color: Floats) -> Floats:
    return under + (color - under) * alpha[..., None]


def _resize(array: NDArray[Any], shape: tuple[int, int]) -> Floats:
    image = Image.fromarray(array.astype(np.float32))
    return np.array(image.resize(shape[::-1], Image.Resampling.BICUBIC), dtype=np.float32)


def _smoothstep(x: NDArray[Any], low: float, high: float) -> Floats:
    t: Floats = np.clip((x.astype(np.float32) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the true pixels, right and bottom exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# --- files


def _write_split(folder: Path, split: str, scenes: Iterable[Scene], classes: Sequence[str]) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, scene in enumerate(scenes, start=1):
        file = _image(folder, split, i)
        with written_aside(file) as partial:
            Image.fromarray(scene.image).save(partial, "JPEG", quality=92)
        height, width = scene.image.shape[:2]
        images.append({"id": i, "file_name": file.name, "width": width, "height": height})
        for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": label + 1, **box, "iscrowd": 0}
            )
    content = {
        "info": {"description": "Handwritten digits (E. Alpaydin, C. Kaynak, 1998) on made-up backgrounds"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(classes)],
    }
    write_json(_annotations(folder, split), content, indent=None)


def _image(folder: Path, split: str, number: int) -> Path:
    return folder / "images" / split / f"{split}-{number:04d}.jpg"


def _annotations(folder: Path, split: str) -> Path:
    return folder / "annotations" / f"instances_{split}.json"
