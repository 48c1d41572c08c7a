"""Line plots as inline SVG: text and axes take the page's color, which suits light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxwright.report.markup import text

INK = "currentColor"
"""The page's text color."""
_WIDTH, _HEIGHT = 346, 245
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 8, 36, 8  # margins
_FONT = 10
_ROW, _SAMPLE, _LETTER = 15, 18, 5.8  # of the legend: row height, length of a line's sample, width of a letter
_INTERVALS = 5  # approximate number between ticks


class Axis(NamedTuple):
    """An axis from ``low`` to ``high``, linear or logarithmic."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Whether only whole numbers are marked, as for steps."""

    def share(self, values: ArrayLike) -> NDArray[np.float64]:
        """Compute the position of each value along the axis, 0..1; NaN where it cannot be shown."""
        given = np.asarray(values, np.float64)
        if not self.log:
            return (given - self.low) / (self.high - self.low)
        logarithms = np.log10(np.where(given > 0, given, np.nan))
        return (logarithms - log10(self.low)) / (log10(self.high) - log10(self.low))

    def ticks(self) -> dict[float, str]:
        """Choose round values within the axis, with their text."""
        if self.log:
            powers = range(ceil(log10(self.low)), floor(log10(self.high)) + 1)
            return {10.0**power: f"{10.0**power:g}" for power in powers}
        rough = (self.high - self.low) / _INTERVALS
        power = floor(log10(rough))
        step = min((m * 10.0**power for m in (1, 2, 5, 10)), key=lambda step: abs(log10(step / rough)))
        step = max(step, 1.0) if self.whole else step
        decimals = max(0, -floor(log10(step) + 1e-9))
        places = range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)
        return {place * step: f"{place * step:.{decimals}f}" for place in places}


@dataclass(frozen=True)
class Line:
    """A line through points, with a gap where a value cannot be shown. One point is a dot."""

    x: ArrayLike
    y: ArrayLike
    color: str = INK
    width: float = 1.8
    opacity: float = 1.0
    dash: Sequence[float] = ()
    """Lengths of strokes and gaps, in line widths."""
    label: str | None = None
    """Its name in the legend; None: not in the legend."""


def plot_svg(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    x: Axis | None = None,
    y: Axis | None = None,
    *,
    log: bool = False,
) -> str:
    """Draw lines, later ones on top, with a legend above if they have names.

    Axes that are not given fit all points; ``log`` makes y logarithmic. Whatever leaves an axis is cut off.
    """
    x = x or _fitting([line.x for line in lines], log=False)
    y = y or _fitting([line.y for line in lines], log=log)
    keys, rows = _legend(lines)
    top = _TOP + rows * _ROW
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - top - _BOTTOM
    drawn = "".join(_path(line, x, y, width, height) for line in lines)
    around = _frame(x, y, width, height) + _names(x_label, y_label, width, height)
    cut = f'<svg width="{width}" height="{height}" style="width:{width}px;height:{height}px">{drawn}</svg>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="{_FONT}" fill="{INK}">{keys}'
        f'<g transform="translate({_LEFT} {top})">{around}{cut}</g></svg>'
    )


def _fitting(columns: Sequence[ArrayLike], *, log: bool) -> Axis:
    """Choose the axis that holds all values, with a little room at both ends."""
    values = np.concatenate([np.asarray(column, np.float64).reshape(-1) for column in columns] or [np.zeros(1)])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(values):
        return Axis(0.1, 1.0, log)
    if log:
        low, high = log10(values.min()), log10(values.max())
        room = 0.05 * (high - low) or 0.5
        return Axis(10 ** (low - room), 10 ** (high + room), log)
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return Axis(low - room, high + room, whole=bool((values % 1 == 0).all()))


def _frame(x: Axis, y: Axis, width: float, height: float) -> str:
    """Draw the two axes with ticks, their text, and pale lines across."""
    grid, marks = [], []
    for value, label in x.ticks().items():
        at = f"{width * float(x.share(value)):.1f}"
        grid.append(f"M{at} 0V{height}")
        marks.append(f'<text x="{at}" y="{height + _FONT + 4}" text-anchor="middle">{label}</text>')
    for value, label in y.ticks().items():
        place = height * (1 - float(y.share(value)))
        grid.append(f"M0 {place:.1f}H{width}")
        marks.append(f'<text x="-5" y="{place + 0.35 * _FONT:.1f}" text-anchor="end">{label}</text>')
    return (
        f'<path d="{"".join(grid)}" stroke="{INK}" stroke-opacity=".12" stroke-width=".6"/>'
        f'<path d="M0 0V{height}H{width}" fill="none" stroke="{INK}" stroke-width=".6"/>{"".join(marks)}'
    )


def _names(x_label: str, y_label: str, width: float, height: float) -> str:
    return (
        f'<text x="{width / 2}" y="{height + 2.8 * _FONT:.0f}" text-anchor="middle">{text(x_label)}</text>'
        f'<text transform="translate({_FONT - _LEFT} {height / 2}) rotate(-90)" text-anchor="middle">'
        f"{text(y_label)}</text>"
    )


def _path(line: Line, x: Axis, y: Axis, width: float, height: float) -> str:
    places = np.column_stack([width * x.share(line.x), height * (1 - y.share(line.y))])
    if len(places) == 1 and np.isfinite(places).all():
        return (
            f'<circle cx="{places[0, 0]:.2f}" cy="{places[0, 1]:.2f}" r="{1.7 * line.width:.1f}" fill="{line.color}"/>'
        )
    return f'<path d="{"".join(_steps(places))}" fill="none" {_stroke(line)}/>'


def _steps(places: NDArray[np.float64]) -> Iterator[str]:
    move = "M"
    for across, down in places.tolist():
        if isfinite(across) and isfinite(down):
            yield f"{move}{across:.2f} {down:.2f}"
            move = "L"
        else:
            move = "M"


def _stroke(line: Line) -> str:
    dash = f' stroke-dasharray="{" ".join(f"{line.width * length:g}" for length in line.dash)}"' if line.dash else ""
    opacity = f' stroke-opacity="{line.opacity:g}"' if line.opacity < 1 else ""
    return f'stroke="{line.color}" stroke-width="{line.width:g}" stroke-linejoin="round"{dash}{opacity}'


def _legend(lines: Sequence[Line]) -> tuple[str, int]:
    """Draw the named lines' samples and names in rows; also returns the number of rows."""
    keys: list[str] = []
    across, row = float(_LEFT), 0
    for line in lines:
        if line.label is None:
            continue
        room = _SAMPLE + 5 + _LETTER * len(line.label) + 10
        if across > _LEFT and across + room > _WIDTH:
            across, row = float(_LEFT), row + 1
        middle = _TOP + _ROW * row + _ROW / 2 - 3
        keys.append(
            f'<path d="M{across:.0f} {middle:.1f}h{_SAMPLE}" {_stroke(line)}/>'
            f'<text x="{across + _SAMPLE + 5:.0f}" y="{middle + 0.35 * _FONT:.1f}">{text(line.label)}</text>'
        )
        across += room
    return "".join(keys), row + 1 if keys else 0
