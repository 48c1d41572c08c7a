"""The average of the weights over the steps, which is validated and saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Place = tuple[dict[str, Any], str]
"""A module's tensor: the dictionary that holds it, and its name there. A buffer may be replaced at any step."""


def newest_share(decay: float, updates: int) -> float:
    """Compute the share of the newest weights in the average after t ``updates``: 1 - min(decay, (1 + t) / (10 + t)).

    The average is exponential, but weights all steps about equally while there are few.
    """
    return 1 - min(decay, (1 + updates) / (10 + updates))


class Averages(AveragedModel):
    """Averages of a module's weights and statistics, in their own types; ``module`` holds them.

    An update is a few calls for all tensors together, and waits for no device. ``device``: where the averages are kept;
    None: with the module.
    """

    def __init__(self, module: nn.Module, decay: float, device: torch.device | None = None) -> None:
        super().__init__(module, device, use_buffers=True)
        self.decay = decay
        self.n_averaged: Tensor = torch.zeros_like(self.n_averaged, device="cpu")  # asked for at each update
        self._pairs: list[tuple[list[Place], list[Place]]] = []

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the current weights of the module that the averages were made of."""
        if not self._pairs:
            self._pairs = _by_type(self.module, model)
        updates = int(self.n_averaged)
        for ours, theirs in self._pairs:
            averages, current = _tensors(ours), _tensors(theirs)
            if updates:
                _move(averages, current, newest_share(self.decay, updates))
            else:
                torch._foreach_copy_(averages, current)
        self.n_averaged += 1


def _move(averages: list[Tensor], current: list[Tensor], share: float) -> None:
    """Move the averages by a ``share`` of the way to the current values; whole numbers are rounded down."""
    if averages[0].is_floating_point():
        torch._foreach_lerp_(averages, current, share)
    else:
        way = torch._foreach_mul(torch._foreach_sub(current, averages), share)
        torch._foreach_copy_(averages, torch._foreach_add(averages, way))


def _by_type(ours: nn.Module, theirs: nn.Module) -> list[tuple[list[Place], list[Place]]]:
    """Pair the tensors of a copy and its original, grouped by type."""
    groups: dict[torch.dtype, tuple[list[Place], list[Place]]] = defaultdict(lambda: ([], []))
    for mine, other in zip(_places(ours), _places(theirs), strict=True):
        group = groups[mine[0][mine[1]].dtype]
        group[0].append(mine)
        group[1].append(other)
    return list(groups.values())


def _places(module: nn.Module) -> Iterator[Place]:
    """List the locations of all parameters and buffers, each tensor once."""
    seen = set()
    for part in module.modules():
        for holder in (part._parameters, part._buffers):
            for name, tensor in holder.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield holder, name


def _tensors(places: list[Place]) -> list[Tensor]:
    return [holder[name] for holder, name in places]
