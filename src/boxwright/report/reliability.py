"""The reliability diagram: what a score promised against what came of it."""

from __future__ import annotations

import matplotlib as mpl

from boxwright.report.content import Bins
from boxwright.report.curves import PAGE, SETTINGS, line_colour, new_figure, to_svg
from boxwright.report.markup import Markup, figures, text


def reliability_diagram(bins: Bins, said: str) -> Markup:
    """The share of right detections over their mean score, by bins; nothing where all are empty.

    Points grow with the number of detections. ``said``: a sentence or two above it.
    """
    some = bins.count > 0
    if not some.any():
        return Markup()
    with mpl.rc_context(SETTINGS):
        figure, axes = new_figure("score", "share that is right")
        axes.plot([0, 1], [0, 1], color=PAGE, alpha=0.5, linewidth=1, dashes=(4, 3))
        x, y, number = bins.score[some], bins.precision[some], bins.count[some]
        axes.plot(x, y, color=line_colour(0), linewidth=1.8)
        axes.scatter(x, y, s=12 + 120 * number / number.max(), color=line_colour(0), zorder=3)
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.03)
        svg = to_svg(figure, "reliability")
    return Markup(f'<p class="dim">{text(said)}</p>{figures([("Reliability at IoU 0.5", svg)])}')
