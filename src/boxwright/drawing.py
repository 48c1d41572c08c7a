"""Boxes drawn on images, readable at any size.

Small images are enlarged, line width and text grow with the picture, a class has the same color in every picture, and
labels stay inside the picture, off their own box, and off each other and other boxes where there is room.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from boxwright._util.ownership import MADE_BY
from boxwright._util.printing import printable

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe and Ito's colors (2008), which people of all kinds of color vision tell apart, black kept for outlines; then
# three dark ones of Paul Tol's "muted" scheme.
_PALETTE: tuple[Color, ...] = (
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
_DARK: Color = (0, 0, 0)
_LIGHT: Color = (255, 255, 255)
_STRIP: Color = (40, 40, 40)  # ground of the strip for labels above a picture that boxes fill
_LEAST_SIDE = 400  # pixels that the longer side of a picture has at least
_SAME = 0.5  # IoU above which two boxes of a class are taken for one object
_LONGEST_NAME = 60  # characters of a class's name that a label shows
_SHORTEST = 4  # of a label that has to be cut to fit into the picture
_CROWDED = 0.35  # a label is left out where this share of it would cover other labels
# What a place of a label costs: covering labels, covering other boxes (both by share of the label), and coming later
_OF_LABELS, _OF_BOXES, _OF_RANK = 4.0, 1.0, 0.05


class _Pen(NamedTuple):
    """Measures of one picture, in pixels."""

    width: int
    font: Font
    pad: int


class _Tag(NamedTuple):
    """A box that is drawn, with its label."""

    text: str
    place: Rectangle
    color: Color


class _Measured(NamedTuple):
    """A label's text as it fits, its size with the pad around it, and where in it the text starts."""

    text: str
    size: tuple[int, int]
    start: tuple[float, float]


def class_color(label: int) -> Color:
    """RGB of a class: the same in every picture. Beyond the palette, hues by the golden angle at changing lightness."""
    if label < len(_PALETTE):
        return _PALETTE[label]
    hue = (label * 0.381966) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.35, 0.55, 0.72)[label % 3], 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_color(background: Color) -> Color:
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
    colors: Sequence[Color] | None = None,
    strip: bool = True,
) -> Image.Image:
    """Draw an image with its boxes, their class names and scores.

    ``image`` is (H, W, 3) RGB; ``boxes`` (n, 4) xyxy in its pixels; ``labels`` (n,) index ``classes``; ``scores`` (n,),
    or None where there are none. ``targets`` (m, 4) are drawn thin and dashed below, to compare with. ``colors`` (n,)
    stand in for those of the classes. An image of less than 400 pixels is enlarged by a whole number; where a box
    leaves no room for its label, a ``strip`` is added above, or else the label left out. Of boxes with scores those
    that lie on a better one of their class (see ``distinct``) aren't drawn. Where labels would cover each other, the
    lower-scored ones are left out.
    Raises ValueError where the shapes don't fit.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"Expected an (H, W, 3) uint8 image but got {image.shape} {image.dtype}")
    kinds = np.asarray(labels, dtype=np.int64).reshape(-1)
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(corners) != len(kinds) or (scores is not None and len(np.asarray(scores)) != len(kinds)):
        raise ValueError(f"Expected as many labels and scores as boxes, {len(corners)}, but got {len(kinds)} labels")
    if len(kinds) and not 0 <= kinds.min() <= kinds.max() < len(classes):
        raise ValueError(f"Expected labels in 0..{len(classes) - 1} but got {kinds.min()}..{kinds.max()}")
    picture, factor = _enlarged(image)
    ranks = np.zeros(len(kinds)) if scores is None else np.asarray(scores, dtype=np.float64)
    order = np.argsort(-ranks, kind="stable") if scores is None else distinct(corners, kinds, ranks)
    places = {int(i): place for i in order if (place := _pixels(corners[i] * factor, picture))}
    wanted = np.asarray([] if targets is None else targets, dtype=np.float64).reshape(-1, 4)
    behind = [place for target in wanted if (place := _pixels(target * factor, picture))]
    texts = {i: _shown(classes[kinds[i]]) + ("" if scores is None else f"  {ranks[i]:.2f}") for i in places}
    shades = colors or [class_color(label) for label in kinds.tolist()]
    tags = [_Tag(texts[i], place, shades[i]) for i, place in places.items()]
    return _drawn(picture, tags, behind, strip)


def distinct(boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """Indices, by falling score, of the boxes (n, 4) without those that lie on a better one of the same label.

    Two boxes lie on each other where their IoU is above 0.5.
    """
    corners, kinds = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(labels, np.int64).reshape(-1)
    kept: list[int] = []
    for i in np.argsort(-np.asarray(scores, np.float64).reshape(-1), kind="stable").tolist():
        others = corners[[j for j in kept if kinds[j] == kinds[i]]]
        shared = _intersections(corners[i : i + 1], others)[0]
        union = _areas(corners[i : i + 1]) + _areas(others) - shared
        if not (shared > _SAME * union).any():
            kept.append(i)
    return np.array(kept, np.int64)


def _drawn(picture: Image.Image, tags: Sequence[_Tag], behind: Sequence[Rectangle], strip: bool) -> Image.Image:
    """Draw the dashed boxes ``behind``, then boxes and labels, the first ones on top."""
    pen = _pen(picture)
    measured = [_measured(tag.text, pen, picture.width) for tag in tags]
    pairs = zip(tags, measured, strict=True)
    if strip and any(label and not len(_spots(tag.place, label.size, picture.size)) for tag, label in pairs):
        rows = max(label.size[1] for label in measured if label)
        picture = ImageOps.expand(picture, (0, rows, 0, 0), _STRIP)
        tags = [tag._replace(place=_lowered(tag.place, rows)) for tag in tags]
        behind = [_lowered(place, rows) for place in behind]
    draw = ImageDraw.Draw(picture)
    for place in behind:
        _dashed(draw, place, pen)
    for tag in reversed(tags):
        _outline(draw, tag.place, tag.color, pen)
    boxes = np.array([tag.place for tag in tags], np.float64).reshape(-1, 4)
    taken: list[Rectangle] = []
    for tag, label in zip(tags, measured, strict=True):
        spot = label and _free_spot(_spots(tag.place, label.size, picture.size), boxes, taken)
        if label and spot:
            taken.append(spot)
            _write(draw, label, spot, tag.color, pen)
    return picture


def contact_sheet(images: Sequence[Image.Image], columns: int, cell: int = 360) -> Image.Image:
    """Arrange images in rows of ``columns``, each fitted into ``cell`` x ``cell`` pixels with its aspect kept."""
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


def png_file(picture: Image.Image) -> bytes:
    """Encode the picture as a PNG file that names its program."""
    buffer = io.BytesIO()
    comment = PngInfo()
    comment.add_text("Comment", MADE_BY)
    picture.save(buffer, "PNG", pnginfo=comment)
    return buffer.getvalue()


def fit(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Compute the largest size (width, height) of the same aspect that fits, at least one pixel each."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _luminance(color: Color) -> float:
    """Relative luminance of an sRGB color (WCAG 2)."""
    red, green, blue = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _enlarged(image: NDArray[np.uint8]) -> tuple[Image.Image, int]:
    """Enlarge the image to at least the minimum side; also returns the whole-number factor."""
    picture = Image.fromarray(image)
    factor = ceil(_LEAST_SIDE / max(picture.size))
    size = (picture.width * factor, picture.height * factor)
    return (picture.resize(size, Image.Resampling.BICUBIC) if factor > 1 else picture), factor


def _pen(picture: Image.Image) -> _Pen:
    side = sqrt(picture.width * picture.height)
    return _Pen(max(2, round(side / 240)), _font(max(12, round(side / 40))), max(2, round(side / 300)))


@lru_cache(maxsize=16)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _pixels(box: NDArray[np.float64], picture: Image.Image) -> Rectangle | None:
    """Return the box's first and last pixels inside the picture, or None if it has none."""
    x1, y1 = max(0, round(box[0])), max(0, round(box[1]))
    x2, y2 = min(picture.width, round(box[2])) - 1, min(picture.height, round(box[3])) - 1
    return (x1, y1, x2, y2) if x2 >= x1 and y2 >= y1 else None


def _outline(draw: ImageDraw.ImageDraw, place: Rectangle, color: Color, pen: _Pen) -> None:
    """Draw a frame in the class's color, with a hairline that keeps it visible on ground of the same color."""
    x1, y1, x2, y2 = place
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=text_color(color))
    draw.rectangle(place, outline=color, width=pen.width)


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
    """Shorten a class's name to one line."""
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


def _measured(text: str, pen: _Pen, room: int) -> _Measured | None:
    """Cut the label to fit into ``room`` pixels across; None if too little of it would be left."""
    for length in (len(text), *range(len(text) - 1, _SHORTEST - 1, -1)):
        fitting = text if length == len(text) else text[: length - 3] + "..."
        left, top, right, bottom = pen.font.getbbox(fitting)
        ascent, descent = pen.font.getbbox("Ag")[1::2]  # one height for all labels
        top, bottom = min(top, ascent), max(bottom, descent)
        size = (ceil(right - left) + 2 * pen.pad + 1, ceil(bottom - top) + 2 * pen.pad)
        if size[0] <= room:
            return _Measured(fitting, size, (pen.pad - left, pen.pad - top))
    return None


def _spots(place: Rectangle, tag: tuple[int, int], picture: tuple[int, int]) -> NDArray[np.float64]:
    """List places (s, 4) for a label, best first: above the box, below, beside, then a label's height further."""
    (x1, y1, x2, y2), (width, height) = place, tag
    across = [max(0, min(x, picture[0] - width)) for x in (x1, x2 + 1 - width, (x1 + x2 + 1 - width) // 2)]
    down = [max(0, min(y, picture[1] - height)) for y in (y1, y2 + 1 - height, (y1 + y2 + 1 - height) // 2)]
    spots = [(x, y) for y in (y1 - height, y2 + 1) for x in across]
    spots += [(x, y) for x in (x2 + 1, x1 - width) for y in down]
    spots += [(x, y) for y in (y1 - 2 * height, y2 + 1 + height) for x in across]
    inside = [(x, y) for x, y in spots if 0 <= x <= picture[0] - width and 0 <= y <= picture[1] - height]
    return np.array([(x, y, x + width, y + height) for x, y in inside], np.float64).reshape(-1, 4)


def _free_spot(spots: NDArray[np.float64], boxes: NDArray[np.float64], taken: Sequence[Rectangle]) -> Rectangle | None:
    """Choose the spot (s, 4) that covers least of the labels and boxes (n, 4); None if all cover much."""
    if not len(spots):
        return None
    area = _areas(spots)
    labels = _intersections(spots, np.array(taken, np.float64).reshape(-1, 4)).sum(axis=1) / area
    objects = _intersections(spots, boxes).sum(axis=1) / area
    best = int(np.argmin(_OF_LABELS * labels + _OF_BOXES * objects + _OF_RANK * np.arange(len(spots))))
    if labels[best] > _CROWDED:
        return None
    x1, y1, x2, y2 = spots[best].astype(int).tolist()
    return x1, y1, x2, y2


def _write(draw: ImageDraw.ImageDraw, tag: _Measured, spot: Rectangle, color: Color, pen: _Pen) -> None:
    """Write the label on ground of the box's color, in black or white."""
    x1, y1, x2, y2 = spot
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=color)
    draw.text((x1 + tag.start[0], y1 + tag.start[1]), tag.text, fill=text_color(color), font=pen.font)


def _lowered(place: Rectangle, rows: int) -> Rectangle:
    return place[0], place[1] + rows, place[2], place[3] + rows


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the areas (n,) of boxes (n, 4), 0 for inverted ones."""
    sides: NDArray[np.float64] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def _intersections(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the areas (n, m) that boxes (n, 4) share with boxes (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - low, 0)
    shared: NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    return shared
