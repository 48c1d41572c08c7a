"""The curves and the maps as PNG files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from boxwright._util.ownership import MADE_BY
from boxwright.report.curves import line_colour
from boxwright.simulate.cases import CENTRE, RADIUS
from boxwright.simulate.experiment import Regression, Simulation

_SETTINGS: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_LEAST_SHOWN = 1e-3  # errors below it have its colour
_COLUMNS = 3


def curves_png(simulation: Simulation) -> bytes:
    """Mean error, on a scale of powers of ten, and mean IoU over the steps."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        error_axes, iou_axes = figure.subplots(1, 2)
        for i, (name, found) in enumerate(simulation.losses.items()):
            error_axes.plot(found.error / simulation.cases, color=line_colour(i), label=name, lw=1.6)
            iou_axes.plot(found.iou, color=line_colour(i), lw=1.6)
        error_axes.set(yscale="log", xlabel="step", title="mean |dx| + |dy| + |dw| + |dh|")
        iou_axes.set(ylim=(0, 1.02), xlabel="step", title="mean IoU")
        error_axes.legend(frameon=False)
        return _png(figure)


def maps_png(simulation: Simulation) -> bytes:
    """The error that is left at each centre, a map a loss, all in one scale of colours."""
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
    """One loss's map with the scale of all."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(3.6, 2.9), layout="constrained")
        axes = figure.subplots()
        points = _map(axes, simulation, found, _scale(simulation.losses))
        figure.colorbar(points, ax=axes, label="mean error after the last step", extend="min")
        return _png(figure)


def _scale(losses: Mapping[str, Regression]) -> LogNorm:
    """From 0.001 to the largest error of any map."""
    return LogNorm(_LEAST_SHOWN, max(10 * _LEAST_SHOWN, *(float(found.final.max()) for found in losses.values())))


def _map(axes: Axes, simulation: Simulation, found: Regression, scale: LogNorm) -> PathCollection:
    x, y = simulation.centres.T
    size = min(60.0, 30000 / len(x))  # 5,000 points cover the disk
    points = axes.scatter(x, y, c=found.final, norm=scale, cmap="cividis", s=size, linewidths=0, antialiased=False)
    axes.set(aspect="equal", xticks=[7, 10, 13], yticks=[7, 10, 13])
    axes.set_xlim(CENTRE[0] - 1.05 * RADIUS, CENTRE[0] + 1.05 * RADIUS)
    axes.set_ylim(CENTRE[1] + 1.05 * RADIUS, CENTRE[1] - 1.05 * RADIUS)  # y points down, as in images
    return points


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Comment": MADE_BY})
    return buffer.getvalue()
