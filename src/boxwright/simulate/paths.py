"""Single cases: the path of a box that starts diagonally, horizontally or vertically from its target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from boxwright.report.plot import INK
from boxwright.simulate.cases import CENTER
from boxwright.simulate.descent import trace

LAYOUTS: dict[str, tuple[float, float]] = {"diagonal": (2.0, 2.0), "horizontal": (2.8, 0.0), "vertical": (0.0, 2.8)}
"""Offset of the anchor's center from its target's."""
TARGET = (*CENTER, 1.0, 1.0)
ANCHOR_SIDES = (2**0.5, 2**-0.5)
SHOWN = (0, 20, 40, 80, 200)
"""Steps that the still pictures show."""
WINDOW = (8.7, 13.7)
"""Range of x and of y."""
TICKS = (10, 12)

_FRAMES = (*range(0, 100, 2), *range(100, 201, 5))
_SECONDS, _REST = 6.0, 2.0  # of the path, and of the pause at its end
_WIDTH, _LEFT, _TOP, _BOTTOM, _GAP = 346, 20, 16, 48, 8  # as wide as a plot of curves
_FONT = 10
_PANEL = (_WIDTH - _LEFT - 2 * _GAP) / 3
_REACHED = 0.5


def single_cases(losses: Sequence[str]) -> NDArray[np.float64]:
    """Compute the paths (L, 201, 3, 4) under each loss from each of ``LAYOUTS``, cxcywh."""
    anchors = [(CENTER[0] + dx, CENTER[1] + dy, *ANCHOR_SIDES) for dx, dy in LAYOUTS.values()]
    return np.stack([trace(name, anchors, [TARGET] * len(anchors)) for name in losses])


def strength(place: int, count: int) -> float:
    """Return how strongly the place-th of ``count`` boxes is drawn: pale first, the last one fully."""
    return 1.0 if place == count - 1 else 0.4 + 0.3 * place / count


def overlaps(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the IoU (T,) of the boxes (T, 4) cxcywh with the target."""
    target = np.asarray(TARGET)
    low = np.maximum(way[:, :2] - way[:, 2:] / 2, target[:2] - target[2:] / 2)
    high = np.minimum(way[:, :2] + way[:, 2:] / 2, target[:2] + target[2:] / 2)
    shared = np.maximum(high - low, 0).prod(1)
    return np.asarray(shared / (way[:, 2:].prod(1) + target[2:].prod() - shared))


def still_svg(ways: NDArray[np.float64], color: str) -> str:
    """Draw the boxes of one loss (201, 3, 4) at the steps ``SHOWN``, one panel per layout, with when they arrive."""
    return _svg("".join(_panel(column, ways[:, column], _still(ways[:, column], color)) for column in range(3)))


def moving_svg(ways: NDArray[np.float64], color: str) -> str:
    """Animate the same boxes in an endless loop, without a script."""
    return _svg("".join(_panel(column, ways[:, column], _moving(ways[:, column], color)) for column in range(3)))


def _svg(content: str) -> str:
    height = _TOP + _PANEL + _BOTTOM
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" font-size="{_FONT}" fill="{INK}">{content}</svg>'


def _panel(column: int, way: NDArray[np.float64], boxes: str) -> str:
    """Draw a layout's name, axes, target and boxes, and when they reach the target."""
    layout = list(LAYOUTS)[column]
    left = _LEFT + column * (_PANEL + _GAP)
    target = f'<rect {_attributes(np.asarray(TARGET))} fill-opacity=".16"/>'
    return (
        f'<g transform="translate({left:.1f} {_TOP})"><text y="-5">{layout}</text>{_axes(column)}'
        f'<svg width="{_PANEL:.1f}" height="{_PANEL:.1f}" style="width:{_PANEL:.1f}px;height:{_PANEL:.1f}px">'
        f"{target}{boxes}</svg>{_reached(way)}</g>"
    )


def _axes(column: int) -> str:
    """Draw a frame with ticks; y's text only at the first panel. y points down, as in images."""
    grid, marks = "", ""
    for value in TICKS:
        at = _scaled(value - WINDOW[0])
        grid += f"M{at:.1f} 0V{_PANEL:.1f}M0 {at:.1f}H{_PANEL:.1f}"
        marks += f'<text x="{at:.1f}" y="{_PANEL + _FONT + 3:.1f}" text-anchor="middle">{value}</text>'
        if column == 0:
            marks += f'<text x="-4" y="{at + 0.35 * _FONT:.1f}" text-anchor="end">{value}</text>'
    frame = f'<rect width="{_PANEL:.1f}" height="{_PANEL:.1f}" fill="none" stroke="{INK}" stroke-opacity=".35"/>'
    return f'<path d="{grid}" stroke="{INK}" stroke-opacity=".12" stroke-width=".6"/>{frame}{marks}'


def _reached(way: NDArray[np.float64]) -> str:
    """Say when the box covers half of its target, and its final IoU."""
    iou = overlaps(way)
    there = np.flatnonzero(iou >= _REACHED)
    lines = (f"IoU .5 by step {there[0]}" if len(there) else "never at IoU .5", f"ends at IoU {iou[-1]:.2f}")
    places = (_PANEL + 2 * (_FONT + 4) + 2, _PANEL + 3 * (_FONT + 4) + 2)
    return "".join(f'<text y="{place:.1f}">{line}</text>' for place, line in zip(places, lines, strict=True))


def _still(way: NDArray[np.float64], color: str) -> str:
    return "".join(
        f'<rect {_attributes(way[step])} fill="none" stroke="{color}" stroke-width="{1 + (step == SHOWN[-1])}" '
        f'stroke-opacity="{strength(place, len(SHOWN)):.2f}"/>'
        for place, step in enumerate(SHOWN)
    )


def _moving(way: NDArray[np.float64], color: str) -> str:
    whole = _SECONDS + _REST
    times = [f"{_SECONDS / whole * place / (len(_FRAMES) - 1):.4f}" for place in range(len(_FRAMES))] + ["1"]
    clock = f'dur="{whole:g}s" repeatCount="indefinite" keyTimes="{";".join(times)}"'
    columns = zip(*(_rectangle(way[step]) for step in (*_FRAMES, _FRAMES[-1])), strict=True)
    turns = "".join(
        f'<animate attributeName="{name}" {clock} values="{";".join(f"{value:.1f}" for value in values)}"/>'
        for name, values in zip(("x", "y", "width", "height"), columns, strict=True)
    )
    return f'<rect {_attributes(way[0])} fill="none" stroke="{color}" stroke-width="2">{turns}</rect>'


def _attributes(box: NDArray[np.float64]) -> str:
    x, y, width, height = _rectangle(box)
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _rectangle(box: NDArray[np.float64]) -> Iterator[float]:
    """Return x, y, width and height of a box (4,) cxcywh in a panel."""
    corner = box[:2] - box[2:] / 2 - WINDOW[0]
    return (_scaled(float(value)) for value in (*corner, *box[2:]))


def _scaled(length: float) -> float:
    return length * _PANEL / (WINDOW[1] - WINDOW[0])
