"""Curves of a training, and what all curves of the pages share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from boxwright.drawing import class_color
from boxwright.report.history import Series
from boxwright.report.plot import Axis, Line, plot_svg

_MAX_POINTS = 300


def series_svg(
    series: Mapping[str, Series], x_label: str, y_label: str, *, smooth: bool = False, log: bool = False
) -> str:
    """Draw lines over steps or epochs; ``smooth``, for losses, draws a running mean over the pale raw line.

    ``log`` makes y logarithmic.
    """
    colors = {term: line_color(i) for i, term in enumerate(dict.fromkeys(map(_term, series)))}
    lines = []
    for label, (x, y) in series.items():
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        color = colors[_term(label)]
        dash = (3.7, 1.6) if smooth and _term(label) != label else ()
        if smooth and len(ys) >= 20:
            lines.append(Line(*thin(xs, ys), color, width=0.8, opacity=0.25))
            ys = _running_mean(ys)
        lines.append(Line(*thin(xs, ys), color, dash=dash, label=label))
    limits = Axis(0, _top([y for _, y in series.values()])) if smooth else None
    return plot_svg(lines, x_label, y_label, y=limits, log=log)


def line_color(label: int) -> str:
    """Return the class's color as #rrggbb, moved away from white and black so that it is visible on both."""
    color = np.array(class_color(label), dtype=np.float64)
    light = color @ (0.299, 0.587, 0.114)
    if light > 165:
        color *= 165 / light
    elif light < 95:
        color += (255 - color) * (95 - light) / (255 - light)
    red, green, blue = np.rint(color).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _term(label: str) -> str:
    """Return the loss that a column is about: ``val_box`` is the ``box`` of validation, with its color, dashed."""
    return re.sub(r"^val[/_ ]", "", label)


def thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Choose at most 300 points evenly, including the first and the last."""
    if len(x) > _MAX_POINTS:
        keep = np.linspace(0, len(x) - 1, _MAX_POINTS).round().astype(int)
        return x[keep], y[keep]
    return x, y


def _running_mean(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute a centered mean over about a twentieth of the run, over fewer points at both ends."""
    half = max(2, len(y) // 40)
    total = np.concatenate([[0.0], np.cumsum(y)])
    places = np.arange(len(y))
    start, stop = np.maximum(places - half, 0), np.minimum(places + half + 1, len(y))
    means: NDArray[np.float64] = (total[stop] - total[start]) / (stop - start)
    return means


def _top(values: Sequence[Sequence[float]]) -> float:
    """Return an upper limit that cuts off a few initial spikes."""
    every = np.concatenate([np.asarray(y, dtype=np.float64) for y in values])
    return float(max(1.15 * np.quantile(every, 0.99), 1e-6))


def closed(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return recall and precision starting at recall 0 and ending with a drop to 0. Empty without detections."""
    keep = np.isfinite(precision) & np.isfinite(recall)
    precision, recall = precision[keep], recall[keep]
    if len(recall) == 0:
        return recall, precision
    return np.concatenate([[0.0], recall, recall[-1:]]), np.concatenate([precision[:1], precision, [0.0]])


def envelope(x: NDArray[np.float64], y: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the best precision at each recall of the grid or beyond; 0 where that recall is not reached."""
    best = np.append(np.maximum.accumulate(y[::-1])[::-1], 0.0)
    return best[np.searchsorted(x, grid, side="left")]
