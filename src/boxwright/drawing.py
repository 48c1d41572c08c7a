"""Boxes drawn on images, readable at any size.

Line width and text grow with the image, a class has the same colour in every picture, and labels stay inside the image
and off each other where there is room.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from boxwright._util.printing import printable

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe and Ito's colours (2008), which people of all kinds of colour vision tell apart, black kept for outlines; then
# three dark ones of Paul Tol's "muted" scheme.
_PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (136, 34, 85),
    (51, 34, 136),
    (153, 153, 51),
)
_DARK: Colour = (0, 0, 0)
_LIGHT: Colour = (255, 255, 255)
_LONGEST_NAME = 60  # characters of a class's name that a label shows
_CROWDED = 0.35  # a label is left out where this share of it would cover other labels


class _Pen(NamedTuple):
    """Measures of one picture, in pixels."""

    width: int
    font: Font
    pad: int


def class_colour(label: int) -> Colour:
    """RGB of a class: the same in every picture. Beyond the palette, hues by the golden angle at changing lightness."""
    if label < len(_PALETTE):
        return _PALETTE[label]
    hue = (label * 0.381966) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.35, 0.55, 0.72)[label % 3], 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever has the higher WCAG 2 contrast on ``background``."""
    luminance = _luminance(background)
    white = 1.05 / (luminance + 0.05)
    dark = (luminance + 0.05) / (_luminance(_DARK) + 0.05)
    return _LIGHT if white >= dark else _DARK


def draw_detections(
    image: NDArray[np.uint8],
    boxes: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike | None,
    classes: Sequence[str],
    *,
    targets: ArrayLike | None = None,
) -> Image.Image:
    """A copy of the image with its boxes, their class names and scores.

    ``image`` is (H, W, 3) RGB; ``boxes`` (n, 4) xyxy in its pixels; ``labels`` (n,) index ``classes``; ``scores`` (n,),
    or None where there are none. ``targets`` (m, 4) are drawn thin and dashed below, to compare with. Where labels
    would cover each other, the lower-scored ones are left out. Raises ValueError where the shapes don't fit.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"Expected an (H, W, 3) uint8 image but got {image.shape} {image.dtype}")
    kinds = np.asarray(labels, dtype=np.int64).reshape(-1)
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(corners) != len(kinds) or (scores is not None and len(np.asarray(scores)) != len(kinds)):
        raise ValueError(f"Expected as many labels and scores as boxes, {len(corners)}, but got {len(kinds)} labels")
    if len(kinds) and not 0 <= kinds.min() <= kinds.max() < len(classes):
        raise ValueError(f"Expected labels in 0..{len(classes) - 1} but got {kinds.min()}..{kinds.max()}")
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    pen = _pen(picture)
    for target in np.asarray([] if targets is None else targets, dtype=np.float64).reshape(-1, 4):
        if place := _pixels(target, picture):
            _dashed(draw, place, pen)
    ranks = np.zeros(len(kinds)) if scores is None else np.asarray(scores, dtype=np.float64)
    order = np.argsort(-ranks, kind="stable")
    places = {int(i): place for i in order if (place := _pixels(corners[i], picture))}
    for i in reversed(places):
        _outline(draw, places[i], class_colour(int(kinds[i])), pen)
    taken: list[Rectangle] = []
    for i, place in places.items():
        name = _shown(classes[kinds[i]])
        name = name if scores is None else f"{name}  {ranks[i]:.2f}"
        _label(draw, name, place, class_colour(int(kinds[i])), pen, taken)
    return picture


def contact_sheet(images: Sequence[Image.Image], columns: int, cell: int = 360) -> Image.Image:
    """The images in rows of ``columns``, each fitted into ``cell`` x ``cell`` pixels with its aspect kept."""
    if not images or columns < 1:
        raise ValueError(f"Expected images and at least one column but got {len(images)} images, {columns} columns")
    gap = max(4, cell // 40)
    fitted = [image.resize(fit(image.size, (cell, cell)), Image.Resampling.LANCZOS) for image in images]
    rows = [fitted[i : i + columns] for i in range(0, len(fitted), columns)]
    heights = [max(image.height for image in row) for row in rows]
    size = (len(rows[0]) * (cell + gap) + gap, sum(heights) + (len(rows) + 1) * gap)
    sheet = Image.new("RGB", size, (245, 245, 245))
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for i, image in enumerate(row):
            left = gap + i * (cell + gap) + (cell - image.width) // 2
            sheet.paste(image, (left, top + (height - image.height) // 2))
        top += height + gap
    return sheet


def fit(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The largest size (width, height) of the same aspect that fits into the room, at least one pixel each."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    red, green, blue = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _pen(picture: Image.Image) -> _Pen:
    side = sqrt(picture.width * picture.height)
    return _Pen(max(1, round(side / 240)), _font(max(10, round(side / 40))), max(1, round(side / 300)))


@lru_cache(maxsize=16)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _pixels(box: NDArray[np.float64], picture: Image.Image) -> Rectangle | None:
    """The box's first and last pixels inside the picture, or None where it has none."""
    x1, y1 = max(0, round(box[0])), max(0, round(box[1]))
    x2, y2 = min(picture.width, round(box[2])) - 1, min(picture.height, round(box[3])) - 1
    return (x1, y1, x2, y2) if x2 >= x1 and y2 >= y1 else None


def _outline(draw: ImageDraw.ImageDraw, place: Rectangle, colour: Colour, pen: _Pen) -> None:
    """A frame in the class's colour with a hairline around it that keeps it visible on ground of the same colour."""
    x1, y1, x2, y2 = place
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=text_colour(colour))
    draw.rectangle(place, outline=colour, width=pen.width)


def _dashed(draw: ImageDraw.ImageDraw, place: Rectangle, pen: _Pen) -> None:
    x1, y1, x2, y2 = place
    width = max(1, pen.width // 2)
    dash = 5 * width
    draw.rectangle(place, outline=_DARK, width=width)
    for x in range(x1, x2 + 1, 2 * dash):
        for y in (y1, y2 - width + 1):
            draw.rectangle((x, y, min(x + dash - 1, x2), y + width - 1), fill=_LIGHT)
    for y in range(y1, y2 + 1, 2 * dash):
        for x in (x1, x2 - width + 1):
            draw.rectangle((x, y, x + width - 1, min(y + dash - 1, y2)), fill=_LIGHT)


def _shown(name: str) -> str:
    """A class's name in one line that isn't too long."""
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


def _label(
    draw: ImageDraw.ImageDraw, text: str, place: Rectangle, colour: Colour, pen: _Pen, taken: list[Rectangle]
) -> None:
    """Write the text on a tag of the colour at the free-est corner of the box; note its rectangle in ``taken``."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=pen.font)
    ascent, descent = draw.textbbox((0, 0), "Ag", font=pen.font)[1::2]  # one height for all tags
    top, bottom = min(top, ascent), max(bottom, descent)
    width, height = ceil(right - left) + 2 * pen.pad + 1, ceil(bottom - top) + 2 * pen.pad
    spots = _spots(place, width, height, draw.im.size)
    covered = [sum(_intersection(spot, other) for other in taken) for spot in spots]
    best = min(range(len(spots)), key=covered.__getitem__)
    if covered[best] > _CROWDED * width * height:
        return
    x, y, _, _ = spots[best]
    taken.append(spots[best])
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    draw.text((x + pen.pad - left, y + pen.pad - top), text, fill=text_colour(colour), font=pen.font)


def _spots(place: Rectangle, width: int, height: int, size: tuple[int, int]) -> list[Rectangle]:
    """Where a tag may lie, best first: above the box, inside its top, below it, inside its bottom; left then right."""
    x1, y1, x2, y2 = place
    tops = (y1 - height, y1, y2 + 1, y2 + 1 - height)
    lefts = (x1, x2 + 1 - width)
    spots = []
    for y in tops:
        for x in lefts:
            x_in, y_in = max(0, min(x, size[0] - width)), max(0, min(y, size[1] - height))
            spots.append((x_in, y_in, x_in + width, y_in + height))
    return spots


def _intersection(a: Rectangle, b: Rectangle) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
