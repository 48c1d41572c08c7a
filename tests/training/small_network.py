"""lite320 on a backbone of three convolutions, for trainings whose network does not matter."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

import boxwright as bw
from boxwright.types import FeatureMap


@bw.backbone
class ThreeConvolutions(nn.Module):
    """Maps of strides 8 and 16."""

    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.maps = [FeatureMap(16, stride) for stride in strides]
        steps = ((3, 4), (16, 2), (16, 2))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 16, 3, step, 1), nn.BatchNorm2d(16), nn.ReLU())
            for channels, step in steps
        )

    def load(self, pretrained: bool | str) -> None:
        """There are no weights."""

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.stages[1](self.stages[0](images))
        return [fine, self.stages[2](fine)]


SMALL_NETWORK = {
    "backbone": ThreeConvolutions,
    "strides": [8, 16],
    "pretrained": False,
    "freeze": 0,
    "freeze_depthwise": 0,
    "image_size": 64,
    "width": 16,
    "batch_size": 4,
    "epochs": 2,
}
