"""The highest values of each row: exactly the requested number, and the earlier of equal ones."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright._util.devices import is_near


def highest(values: Tensor, eligible: Tensor, count: Tensor | int) -> Tensor:
    """Select the ``count`` highest of the eligible values of each row, or all of them if there are fewer: (B, A) bool.

    values (B, A) float, eligible (B, A) bool, count int or (B, 1). Ties go to the earlier column on every device.
    """
    columns = values.shape[1]
    if isinstance(count, int):  # known without waiting for a device
        most = min(count, columns)
        wanted = torch.full((len(values), 1), most, device=values.device)
    else:
        wanted = count.expand(len(values), 1).clamp(max=columns)
        most = columns if not is_near(wanted) else int(wanted.max()) if wanted.numel() else 0
    if most == 0:
        return torch.zeros_like(eligible)
    ranked = values.masked_fill(~eligible, -torch.inf)
    last = ranked.topk(most, dim=1).values.gather(1, (wanted - 1).clamp(min=0))  # the lowest that is still wanted
    above = ranked > last
    equal = (ranked == last) & eligible
    room = wanted - above.sum(1, keepdim=True)
    return (above | (equal & (equal.cumsum(1) <= room))) & (wanted > 0)


def top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the ``count`` highest of each row (..., A) of non-negative values, falling, and their indices: (..., k).

    The earlier of equal ones comes first, on every device.
    """
    columns = values.shape[-1]
    count = min(count, columns)
    if values.dtype != torch.float32:
        found, place = values.sort(dim=-1, descending=True, stable=True)
        return found[..., :count], place[..., :count]
    # As whole numbers, whose order is that of positive floats, with the place below: no two are equal
    places = torch.arange(columns - 1, -1, -1, device=values.device)
    keys = (values.contiguous().view(torch.int32).long() << 32).bitwise_or_(places).topk(count, dim=-1).values
    return (keys >> 32).int().view(torch.float32), columns - 1 - (keys & 0xFFFFFFFF)
