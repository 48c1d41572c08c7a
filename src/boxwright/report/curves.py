"""Curves as inline SVG: text and axes take the page's colour, so that they read on light and on dark ground."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from boxwright.drawing import class_colour
from boxwright.report.history import Series

PAGE = "#010203"
"""Stands for the page's text colour, and is replaced by it."""
_MAX_POINTS = 300
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": PAGE,
    "axes.labelcolor": PAGE,
    "text.color": PAGE,
    "xtick.color": PAGE,
    "ytick.color": PAGE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
}


def series_svg(
    series: Mapping[str, Series], name: str, x_label: str, y_label: str, *, smooth: bool = False, log: bool = False
) -> str:
    """Lines over steps or epochs; ``smooth``, for losses, lays a running mean over the pale raw line.

    ``name`` is a word that no other figure of the page has; ``log`` scales y by powers of ten.
    """
    with mpl.rc_context(SETTINGS):
        figure, axes = new_figure(x_label, y_label)
        axes.set_yscale("log" if log else "linear")
        colours = {term: line_colour(i) for i, term in enumerate(dict.fromkeys(map(_term, series)))}
        for label, (x, y) in series.items():
            xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
            colour = colours[_term(label)]
            style = "--" if smooth and _term(label) != label else "-"
            if smooth and len(ys) >= 20:
                axes.plot(*thin(xs, ys), color=colour, alpha=0.25, linewidth=0.8)
                ys = _running_mean(ys)
            axes.plot(
                *thin(xs, ys),
                color=colour,
                linewidth=1.8,
                linestyle=style,
                label=label,
                marker="" if len(ys) > 1 else "o",
            )
        _legend(axes)
        if smooth:
            axes.set_ylim(bottom=0, top=_top([y for _, y in series.values()]))
        return to_svg(figure, name)


def line_colour(label: int) -> str:
    """The class's colour as #rrggbb, moved away from white and black so that it shows on both."""
    colour = np.array(class_colour(label), dtype=np.float64)
    light = colour @ (0.299, 0.587, 0.114)
    if light > 165:
        colour *= 165 / light
    elif light < 95:
        colour += (255 - colour) * (95 - light) / (255 - light)
    red, green, blue = np.rint(colour).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def new_figure(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """An empty plot of the size that all have."""
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=PAGE, alpha=0.12, linewidth=0.6)
    return figure, axes


def _term(label: str) -> str:
    """The loss that a column is about: ``val_box`` is the ``box`` of validation, and has its colour, dashed."""
    return re.sub(r"^val[/_ ]", "", label)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        # a name that starts with an underscore would be hidden by matplotlib, a dollar would start mathematics
        axes.legend(
            handles,
            [label.replace("$", r"\$") for label in labels],
            fontsize=9,
            loc="best",
            ncols=1 + (len(labels) > 4),
        )


def thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most 300 points, evenly chosen, first and last among them."""
    if len(x) > _MAX_POINTS:
        keep = np.linspace(0, len(x) - 1, _MAX_POINTS).round().astype(int)
        return x[keep], y[keep]
    return x, y


def _running_mean(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred mean over about a twentieth of the run, over fewer points at both ends."""
    half = max(2, len(y) // 40)
    total = np.concatenate([[0.0], np.cumsum(y)])
    places = np.arange(len(y))
    start, stop = np.maximum(places - half, 0), np.minimum(places + half + 1, len(y))
    means: NDArray[np.float64] = (total[stop] - total[start]) / (stop - start)
    return means


def _top(values: Sequence[Sequence[float]]) -> float:
    """Upper limit that leaves a few first spikes out of the picture."""
    every = np.concatenate([np.asarray(y, dtype=np.float64) for y in values])
    return float(max(1.15 * np.quantile(every, 0.99), 1e-6))


def closed(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Recall and precision, begun at recall 0 and ended by a drop to 0 where recall ends. Without detections: empty."""
    keep = np.isfinite(precision) & np.isfinite(recall)
    precision, recall = precision[keep], recall[keep]
    if len(recall) == 0:
        return recall, precision
    return np.concatenate([[0.0], recall, recall[-1:]]), np.concatenate([precision[:1], precision, [0.0]])


def envelope(x: NDArray[np.float64], y: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best precision at each recall of the grid or beyond it; 0 where that recall isn't reached."""
    best = np.append(np.maximum.accumulate(y[::-1])[::-1], 0.0)
    return best[np.searchsorted(x, grid, side="left")]


def to_svg(figure: Figure, name: str) -> str:
    """The figure as it stands on the page; ``name`` keeps its ids apart from those of the others."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)  # HTML needs none
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)  # ids are unique on the page
    return text.replace(PAGE, "currentColor")
