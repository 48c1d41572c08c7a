"""The reliability diagram: scores compared with how often they are right."""

from __future__ import annotations

import numpy as np

from boxwright.report.content import Bins
from boxwright.report.curves import line_color
from boxwright.report.markup import Markup, figures, text
from boxwright.report.plot import Axis, Line, plot_svg


def reliability_diagram(bins: Bins, said: str) -> Markup:
    """Plot the share of right detections over their mean score, by bins; nothing if all are empty.

    Points grow with the number of detections. ``said`` is a sentence or two above it.
    """
    some = bins.count > 0
    if not some.any():
        return Markup()
    x, y, number = bins.score[some], bins.precision[some], bins.count[some]
    widths = 1.2 + 2.7 * np.sqrt(number / number.max())  # the dot's area is proportional to the number
    diagonal = Line([0, 1], [0, 1], width=1, opacity=0.5, dash=(4, 3))
    color = line_color(0)
    dots = [Line([at], [share], color, width=float(width)) for at, share, width in zip(x, y, widths, strict=True)]
    axes = Axis(0, 1.01), Axis(-0.03, 1.03)
    svg = plot_svg([diagonal, Line(x, y, color), *dots], "score", "share that is right", *axes)
    return Markup(f'<p class="dim">{text(said)}</p>{figures([("Reliability at IoU 0.5", svg)])}')
