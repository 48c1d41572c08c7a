"""The cells of regular grids inside rectangles, one rectangle for each target and anchor shape."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.anchors import GridShapes


def anchors_between(
    row: Tensor, shape: Tensor, low: Tensor, high: Tensor, shapes: GridShapes
) -> tuple[Tensor, Tensor, Tensor]:
    """List rows, shapes and anchors (P,) of the cells from ``low`` to ``high`` (m, 2), both included, x before y.

    row and shape (m,) say whose rectangle it is. low and high are in cells and need not be whole numbers.
    """
    low = low.ceil().clamp(min=0)
    count = (high.floor().minimum(shapes.last_cell.index_select(0, shape)) - low + 1).clamp(min=0).long()
    cells, steps = count[:, 0] * count[:, 1], shapes.steps.index_select(0, shape)
    first = shapes.first.index_select(0, shape) + (low.long() * steps).sum(-1)
    table = torch.stack([row, shape, first, count[:, 0], cells.cumsum(0) - cells, *steps.unbind(-1)], dim=-1)
    row, shape, first, columns, start, step, line = table.repeat_interleave(cells, dim=0).unbind(-1)
    within = torch.arange(len(row), device=row.device) - start
    y = within // columns
    return row, shape, first + (within - y * columns) * step + y * line
