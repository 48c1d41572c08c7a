"""Curves and maps as PNG files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from boxwright._util.ownership import MADE_BY
from boxwright.report.curves import line_color
from boxwright.simulate.cases import CENTER, RADIUS
from boxwright.simulate.experiment import Regression, Simulation
from boxwright.simulate.paths import LAYOUTS, SHOWN, TARGET, TICKS, WINDOW, strength

_SETTINGS: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_LEAST_SHOWN = 1e-3  # smaller errors have the same color
_COLUMNS = 3


def curves_png(simulation: Simulation) -> bytes:
    """Plot mean error, on a logarithmic scale, and mean IoU over the steps."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        error_axes, iou_axes = figure.subplots(1, 2)
        for i, (name, found) in enumerate(simulation.losses.items()):
            error_axes.plot(found.error / simulation.cases, color=line_color(i), label=name, lw=1.6)
            iou_axes.plot(found.iou, color=line_color(i), lw=1.6)
        error_axes.set(yscale="log", xlabel="step", title="mean |dx| + |dy| + |dw| + |dh|")
        iou_axes.set(ylim=(0, 1.02), xlabel="step", title="mean IoU")
        error_axes.legend(frameon=False)
        return _png(figure)


def maps_png(simulation: Simulation) -> bytes:
    """Plot the final error at each center, one map per loss, all on one color scale."""
    columns = min(_COLUMNS, len(simulation.losses))
    rows = -(-len(simulation.losses) // columns)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(3 * columns, 2.9 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        scale = _scale(simulation.losses)
        for axes in grid.flat[len(simulation.losses) :]:
            axes.set_axis_off()
        for axes, (name, found) in zip(grid.flat, simulation.losses.items(), strict=False):
            points = _map(axes, simulation, found, scale)
            axes.set_title(name)
        figure.colorbar(points, ax=grid, label="mean error after the last step", shrink=0.9 / rows**0.5, extend="min")
        return _png(figure)


def map_png(simulation: Simulation, found: Regression) -> bytes:
    """Plot one loss's map on the common scale."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(3.6, 2.9), layout="constrained")
        axes = figure.subplots()
        points = _map(axes, simulation, found, _scale(simulation.losses))
        figure.colorbar(points, ax=axes, label="mean error after the last step", extend="min")
        return _png(figure)


def paths_png(losses: Sequence[str], ways: NDArray[np.float64]) -> bytes:
    """Draw the single cases (L, 201, 3, 4): a row per loss, a column per layout; earlier boxes are paler."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, 2.3 * len(losses)), layout="constrained")
        grid = figure.subplots(len(losses), len(LAYOUTS), squeeze=False)
        figure.suptitle(f"steps {', '.join(map(str, SHOWN[:-1]))} (pale) and {SHOWN[-1]}; gray: the target")
        for row, name in enumerate(losses):
            grid[row, 0].set_ylabel(name)
            for column, layout in enumerate(LAYOUTS):
                _case(grid[row, column], ways[row, :, column], line_color(row))
                if row == 0:
                    grid[row, column].set_title(layout)
        return _png(figure)


def _case(axes: Axes, way: NDArray[np.float64], color: str) -> None:
    """Draw one box (201, 4) cxcywh along its path."""
    axes.add_patch(_patch(np.asarray(TARGET), color="0.87"))
    for place, step in enumerate(SHOWN):
        width = 2 if step == SHOWN[-1] else 1
        axes.add_patch(_patch(way[step], fill=False, ec=color, lw=width, alpha=strength(place, len(SHOWN))))
    axes.set(aspect="equal", xticks=TICKS, yticks=TICKS, xlim=WINDOW, ylim=WINDOW[::-1])  # y points down


def _patch(box: NDArray[np.float64], **look: Any) -> Rectangle:
    (x, y), (w, h) = box[:2] - box[2:] / 2, box[2:]
    return Rectangle((float(x), float(y)), float(w), float(h), **look)


def _scale(losses: Mapping[str, Regression]) -> LogNorm:
    """Return the color scale from 0.001 to the largest error of any map."""
    return LogNorm(_LEAST_SHOWN, max(10 * _LEAST_SHOWN, *(float(found.final.max()) for found in losses.values())))


def _map(axes: Axes, simulation: Simulation, found: Regression, scale: LogNorm) -> PathCollection:
    x, y = simulation.centers.T
    size = min(60.0, 30000 / len(x))  # 5,000 points cover the disk
    points = axes.scatter(x, y, c=found.final, norm=scale, cmap="cividis", s=size, linewidths=0, antialiased=False)
    axes.set(aspect="equal", xticks=[7, 10, 13], yticks=[7, 10, 13])
    axes.set_xlim(CENTER[0] - 1.05 * RADIUS, CENTER[0] + 1.05 * RADIUS)
    axes.set_ylim(CENTER[1] + 1.05 * RADIUS, CENTER[1] - 1.05 * RADIUS)  # y points down, as in images
    return points


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Comment": MADE_BY})
    return buffer.getvalue()
