"""Feature maps coarser than a backbone's, each made from the one before.

RetinaNet makes P6 and P7 so (arXiv:1708.02002, section 4); these use depthwise separable convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from boxwright.errors import RecipeError
from boxwright.types import FeatureMap

COARSEST = 32
"""The largest stride that a backbone is asked for."""


def split_strides(strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Split rising strides into those of a backbone's maps and the coarser ones.

    Raises RecipeError for a coarser one that isn't twice the one before.
    """
    own = [stride for stride in strides if stride <= COARSEST]
    coarser = [stride for stride in strides if stride > COARSEST]
    if coarser and [2 * stride for stride in (*own[-1:], *coarser)][: len(coarser)] != coarser:
        raise RecipeError(
            f"Expected each stride above {COARSEST} to be twice the one before, as 16, {COARSEST}, {2 * COARSEST}, but "
            f"got {list(strides)}"
        )
    return own, coarser


class Coarser(nn.Module):
    """A backbone's maps, finest first -> the same, and behind them the coarser ones of ``width`` channels each.

    Without ``strides`` it changes nothing and has no weights.
    """

    def __init__(self, maps: Sequence[FeatureMap], strides: Sequence[int], width: int) -> None:
        super().__init__()
        self.channels = [each.channels for each in maps] + [width] * len(strides)
        """Channels of all maps."""
        before = self.channels[len(maps) - 1 : -1] if strides else []
        self.steps = nn.ModuleList(_halving(channels, width) for channels in before)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Append maps to (B, C, H, W): (B, width, H / 2, W / 2) of the last one, rounded up, and so on."""
        maps = list(maps)
        for step in self.steps:
            maps.append(step(maps[-1]))
        return maps


def _halving(channels: int, width: int) -> nn.Sequential:
    """Halve a map: (B, C, H, W) -> (B, width, H / 2, W / 2), rounded up as anchors' cells are."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
