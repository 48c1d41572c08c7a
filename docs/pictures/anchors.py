"""The pictures of anchors.md: SSD300's anchors by level and under each clip; how boxes are written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from style import color, figure, save

from boxwright.anchors import SSD300, AnchorSpec, make_anchors
from boxwright.coding import MAX_LOG_SCALE, DeltaCoder, DistanceCoder, DistributionCoder

SIDE = 300
ANCHOR, BOX = torch.tensor([[33.0, 37.0, 73.0, 77.0]]), torch.tensor([[22.0, 16.0, 106.0, 86.0]])


def outline(axes: plt.Axes, box: list[float], **look: object) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **look))


def bare(axes: plt.Axes, low: float, high: float, title: str) -> None:
    """A square plot of pixels, y down, without axes."""
    axes.set(xlim=(low, high), ylim=(high, low), aspect="equal", title=title)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def cell_boxes(spec: AnchorSpec, level: int, row: int, column: int) -> list[list[float]]:
    """The anchors of a cell."""
    anchors = make_anchors(spec, SIDE)
    start = sum(each.count for each in anchors.levels[:level])
    found = anchors.levels[level]
    start += (row * found.grid[1] + column) * len(found.shapes)
    return anchors.boxes[start : start + len(found.shapes)].tolist()


def draw_anchors() -> None:
    drawn, _ = figure(1, height=6.4)
    drawn.clear()
    axes = drawn.subplots(3, 3).flatten()
    for place, level in enumerate(make_anchors(SSD300, SIDE).levels):
        rows, columns = level.grid
        y, x = (level.stride * (np.arange(cells) + level.offset) for cells in level.grid)
        axes[place].scatter(*np.meshgrid(x, y), s=0.8 if rows > 10 else 3, color="0.7", lw=0)
        outline(axes[place], [0, 0, SIDE, SIDE], ec="0.3", lw=1)
        for shape, box in enumerate(cell_boxes(SSD300, place, rows // 2, columns // 2)):
            outline(axes[place], box, ec=color(min(shape, 2) if shape < 2 else 3 - shape % 2), lw=1.4)
        bare(axes[place], -50, 350, f"{rows} x {columns} cells, {len(level.shapes)} shapes")
    for clip, plot in zip((None, "corners", "sizes"), axes[6:], strict=True):
        outline(plot, [0, 0, SIDE, SIDE], ec="0.3", lw=1)
        spec = replace(SSD300, clip=clip)
        for shade, box in (
            (color(0), cell_boxes(spec, 4, 2, 2)[0]),
            (color(3), cell_boxes(spec, 5, 0, 0)[2]),
            (color(2), cell_boxes(spec, 3, 0, 0)[1]),
        ):
            outline(plot, box, ec=shade, lw=1.6)
            plot.plot((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, "o", color=shade, ms=4)
        bare(plot, -65, 365, f"clip={clip}" if clip else "no clip")
    save(drawn, "anchors")


def draw_coding() -> None:
    drawn, _ = figure(1, height=3.9)
    drawn.clear()
    deltas, distances, distribution, limit = drawn.subplots(1, 4)
    for plot in (deltas, distances):
        outline(plot, ANCHOR[0].tolist(), ec="0.45", lw=1.4, ls="--")
        outline(plot, BOX[0].tolist(), ec=color(0), lw=1.8)
        plot.text(56, 35, "anchor", color="0.35")
        plot.text(91, 14, "box", color=color(0))
        bare(plot, 12, 110, "")
    arrow = {"arrowstyle": "->", "color": color(3), "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    deltas.annotate("", (64, 51), (53, 57), arrowprops=arrow)
    deltas.plot([53], [57], "o", color="0.45", ms=4)
    deltas.plot([64], [51], "o", color=color(0), ms=4)
    dx, dy, dw, dh = DeltaCoder().encode(ANCHOR, BOX)[0].tolist()
    deltas.set(title="delta", xlabel=f"dx {dx:.2f}, dy {dy:.2f}\ndw {dw:.2f}, dh {dh:.2f}")
    sides = DistanceCoder().encode(ANCHOR, BOX)[0].tolist()
    ends = ((22, 57), (53, 16), (106, 57), (53, 86))
    labels = ((36, 55), (55, 27), (80, 55), (55, 72))
    for name, end, place, pixels in zip("ltrb", ends, labels, sides, strict=True):
        distances.annotate("", end, (53, 57), arrowprops=arrow)
        distances.text(*place, f"{name} {pixels:.0f}", color=color(3))
    distances.set(title="distances", xlabel="pixels from the anchor's\ncenter to each side")
    coder = DistributionCoder()
    bins = coder.encode(ANCHOR, BOX).reshape(4, coder.bins).softmax(-1)
    for row, name in enumerate("ltrb"):
        distribution.bar(range(coder.bins), 0.8 * bins[row], 0.8, bottom=3 - row, color=color(0))
        distribution.axhline(3 - row, color="0.8", lw=0.7)
        distribution.text(15.5, 3.25 - row, name)
    distance = coder.distances(ANCHOR, BOX)[0].tolist()
    distribution.set(
        title="distribution",
        xlabel="bins of 10 px\n" + ", ".join(f"{name} {at:.1f}" for name, at in zip("ltrb", distance, strict=True)),
    )
    distribution.set_yticks([])
    scale = torch.linspace(0, 30, 400)
    codes = torch.stack([torch.zeros(400), torch.zeros(400), scale, torch.zeros(400)], dim=1)
    boxes = DeltaCoder().decode(torch.tensor([[0.0, 0.0, 16.0, 16.0]]), codes)
    limit.plot(scale, 16 * torch.exp(scale / 5), color="0.6", ls="--")
    limit.plot(scale, boxes[:, 2] - boxes[:, 0], color=color(3))
    limit.axvline(5 * MAX_LOG_SCALE, color="0.8", lw=0.8)
    limit.set(yscale="log", title="16 px anchor, decoded", xlabel=f"dw of the width\nlimit at {5 * MAX_LOG_SCALE:.2f}")
    limit.set_yticks([16, 100, 1000], ["16 px", "100", "1000"])
    limit.minorticks_off()
    save(drawn, "anchors_coding")


def main() -> None:
    draw_anchors()
    draw_coding()


if __name__ == "__main__":
    main()
