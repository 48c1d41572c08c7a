"""The cells of regular grids within rectangles, one rectangle for each target and anchor shape."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.anchors import GridShapes


def anchors_between(low: Tensor, high: Tensor, possible: Tensor, shapes: GridShapes) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, shapes and anchors (P,) on the cells from ``low`` to ``high`` (T, S, 2), both included, x before y.

    low and high are in cells and need not be whole; only the pairs (T, S) that are ``possible`` count.
    """
    low = low.ceil().clamp(min=0)
    count = (high.floor().minimum(shapes.last_cell) - low + 1).clamp(min=0)
    row, shape = (possible & (count.prod(-1) > 0)).nonzero(as_tuple=True)
    low, count = low[row, shape].long(), count[row, shape].long()
    cells, steps = count.prod(-1), shapes.steps[shape]
    first = shapes.first[shape] + (low * steps).sum(-1)
    table = torch.stack([row, shape, first, count[:, 0], cells.cumsum(0) - cells, *steps.unbind(-1)], dim=-1)
    row, shape, first, columns, start, step, line = table.repeat_interleave(cells, dim=0).unbind(-1)
    within = torch.arange(len(row), device=row.device) - start
    y = within // columns
    return row, shape, first + (within - y * columns) * step + y * line
