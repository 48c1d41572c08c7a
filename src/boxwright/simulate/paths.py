"""Single cases: where a box goes that starts diagonally, horizontally or vertically from its target."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from boxwright._util.ownership import MADE_BY
from boxwright.drawing import Colour
from boxwright.report.curves import line_colour
from boxwright.simulate.cases import CENTRE
from boxwright.simulate.descent import trace

LAYOUTS: dict[str, tuple[float, float]] = {"diagonal": (2.0, 2.0), "horizontal": (2.8, 0.0), "vertical": (0.0, 2.8)}
"""Where the anchor's centre lies from its target's."""
TARGET = (*CENTRE, 1.0, 1.0)
ANCHOR_SIDES = (2**0.5, 2**-0.5)
SHOWN = (0, 20, 40, 80, 200)
"""Steps that the still picture shows."""

_FRAMES = (*range(0, 100, 2), *range(100, 201, 5))
_PANEL, _GAP, _LINE = 150, 6, 20  # pixels
_WINDOW = (8.5, 13.7)  # of x and of y
_SHARP = 2  # drawn so many times as large, for smooth lines
_GROUND, _FRAME, _TARGET, _TEXT = (255, 255, 255), (200, 205, 212), (218, 222, 228), (28, 33, 40)


def single_cases(losses: Sequence[str]) -> NDArray[np.float64]:
    """The ways (L, 201, 3, 4) under each loss from each of ``LAYOUTS``, cxcywh."""
    anchors = [(CENTRE[0] + dx, CENTRE[1] + dy, *ANCHOR_SIDES) for dx, dy in LAYOUTS.values()]
    return np.stack([trace(name, anchors, [TARGET] * len(anchors)) for name in losses])


def still(losses: Sequence[str], ways: NDArray[np.float64]) -> Image.Image:
    """A row a loss, a column a layout; the box at the steps ``SHOWN``, from pale to full colour."""
    title = "steps " + ", ".join(map(str, SHOWN[:-1])) + f" (pale) and {SHOWN[-1]}"
    return _sheet(losses, ways[:, list(SHOWN)], title)


def animation(losses: Sequence[str], ways: NDArray[np.float64]) -> bytes:
    """The same sheet as a GIF, a frame every few steps, at the end a rest of two seconds."""
    frames = [_sheet(losses, ways[:, [step]], f"step {step}") for step in _FRAMES]
    palette = frames[-1].quantize(64, method=Image.Quantize.FASTOCTREE)  # leaves white white
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    durations = [80] * (len(drawn) - 1) + [2000]
    sheets: dict[str, Any] = {"save_all": True, "append_images": drawn[1:], "duration": durations, "loop": 0}
    drawn[0].save(buffer, "GIF", comment=MADE_BY.encode(), **sheets)
    return buffer.getvalue()


def _sheet(losses: Sequence[str], ways: NDArray[np.float64], title: str) -> Image.Image:
    """Panels of the boxes (L, T, 3, 4), the last of the T in full colour."""
    width = len(LAYOUTS) * (_PANEL + _GAP) + _GAP
    height = len(losses) * (_PANEL + _LINE + _GAP) + 2 * _LINE
    sheet = Image.new("RGB", (width * _SHARP, height * _SHARP), _GROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13 * _SHARP)

    def write(x: float, y: float, words: str, colour: Colour = _TEXT) -> None:
        draw.text((x * _SHARP, y * _SHARP), words, fill=colour, font=font)

    write(_GAP, 2, title)
    for column, layout in enumerate(LAYOUTS):
        left = _GAP + column * (_PANEL + _GAP)
        write(left, _LINE, layout)
        for row, name in enumerate(losses):
            top = 2 * _LINE + row * (_PANEL + _LINE + _GAP)
            if column == 0:
                write(left, top, name)
            panel = _panel(ways[row, :, column], _rgb(line_colour(row)))
            sheet.paste(panel, (left * _SHARP, (top + _LINE) * _SHARP))
    return sheet.resize((width, height), Image.Resampling.LANCZOS)


def _panel(boxes: NDArray[np.float64], colour: Colour) -> Image.Image:
    side = _PANEL * _SHARP
    panel = Image.new("RGB", (side, side), _GROUND)
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, side - 1, side - 1), outline=_FRAME, width=_SHARP)
    draw.rectangle(_pixels(np.asarray(TARGET)), fill=_TARGET)
    for place, box in enumerate(boxes):
        strength = 1.0 if place == len(boxes) - 1 else 0.4 + 0.3 * place / len(boxes)
        pale = tuple(round(255 - strength * (255 - c)) for c in colour)
        draw.rectangle(_pixels(box), outline=pale, width=(2 if strength == 1 else 1) * _SHARP)
    return panel


def _pixels(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Corners in a panel's pixels."""
    scale = _PANEL * _SHARP / (_WINDOW[1] - _WINDOW[0])
    (x, y), (w, h) = (box[:2] - _WINDOW[0]) * scale, box[2:] * scale / 2
    return float(x - w), float(y - h), float(x + w), float(y + h)


def _rgb(colour: str) -> Colour:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
