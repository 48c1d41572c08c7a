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
from numpy.typing import ArrayLike, NDArray

from boxwright.drawing import class_colour
from boxwright.report.history import Series

_PAGE = "#010203"  # stands for the page's text colour, and is replaced by it
_MAX_POINTS = 300
_MAX_LINES = 10  # classes drawn in a colour of their own
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": _PAGE,
    "axes.labelcolor": _PAGE,
    "text.color": _PAGE,
    "xtick.color": _PAGE,
    "ytick.color": _PAGE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
}


def series_svg(series: Mapping[str, Series], name: str, x_label: str, y_label: str, *, smooth: bool = False) -> str:
    """Lines over steps or epochs; ``smooth``, for losses, lays a running mean over the pale raw line.

    ``name`` is a word that no other figure of the page has.
    """
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(x_label, y_label)
        colours = {term: line_colour(i) for i, term in enumerate(dict.fromkeys(map(_term, series)))}
        for label, (x, y) in series.items():
            xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
            colour = colours[_term(label)]
            style = "--" if smooth and _term(label) != label else "-"
            if smooth and len(ys) >= 20:
                axes.plot(*_thin(xs, ys), color=colour, alpha=0.25, linewidth=0.8)
                ys = _running_mean(ys)
            axes.plot(
                *_thin(xs, ys),
                color=colour,
                linewidth=1.8,
                linestyle=style,
                label=label,
                marker="" if len(ys) > 1 else "o",
            )
        _legend(axes)
        if smooth:
            axes.set_ylim(bottom=0, top=_top([y for _, y in series.values()]))
        return _svg(figure, name)


def precision_recall_svg(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], name: str) -> str:
    """Precision over recall of each class, at IoU 0.5; of more than ten classes pale lines and their mean in bold."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure("recall", "precision")
        grid = np.linspace(0, 1, 101)
        envelopes = []
        many = len(curves) > _MAX_LINES
        for i, (label, (precision, recall)) in enumerate(curves.items()):
            xs, ys = _closed(np.asarray(precision, dtype=np.float64), np.asarray(recall, dtype=np.float64))
            envelopes.append(_envelope(xs, ys, grid))
            style = {"color": _PAGE, "alpha": 0.15} if many else {"color": line_colour(i), "label": label}
            axes.plot(*_thin(xs, ys), linewidth=1 if many else 1.8, **style)
        if many:
            axes.plot(
                grid, np.mean(envelopes, axis=0), color=line_colour(0), linewidth=2.2, label="mean of the classes"
            )
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.03)
        _legend(axes)
        return _svg(figure, name)


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


def _figure(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=_PAGE, alpha=0.12, linewidth=0.6)
    return figure, axes


def _term(label: str) -> str:
    """The loss that a column is about: ``val_box`` is the ``box`` of validation, and has its colour, dashed."""
    return re.sub(r"^val[/_ ]", "", label)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        # a name that starts with an underscore would be hidden by matplotlib, a dollar would start mathematics
        axes.legend(handles, [label.replace("$", r"\$") for label in labels], fontsize=9, loc="best")


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def _closed(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Recall and precision, begun at recall 0 and ended by a drop to 0 where recall ends. Without detections: empty."""
    keep = np.isfinite(precision) & np.isfinite(recall)
    precision, recall = precision[keep], recall[keep]
    if len(recall) == 0:
        return recall, precision
    return np.concatenate([[0.0], recall, recall[-1:]]), np.concatenate([precision[:1], precision, [0.0]])


def _envelope(x: NDArray[np.float64], y: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best precision at each recall of the grid or beyond it; 0 where that recall isn't reached."""
    best = np.append(np.maximum.accumulate(y[::-1])[::-1], 0.0)
    return best[np.searchsorted(x, grid, side="left")]


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)  # HTML needs none
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)  # ids are unique on the page
    return text.replace(_PAGE, "currentColor")
