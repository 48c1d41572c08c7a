"""The setting of the DIoU paper's experiment (Zheng et al. 2020, arXiv 1911.08287, section 3).

Boxes are cxcywh, in columns (4, N): one coordinate of all boxes is contiguous in memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CENTER = (10.0, 10.0)
"""Center of every target."""
RADIUS = 3.0
CENTERS = 5000
RATIOS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0, 3.0, 4.0)
"""w / h of the targets, whose area is 1, and of the anchors."""
SCALES = (0.5, 0.67, 0.75, 1.0, 1.33, 1.5, 2.0)
"""Areas of the anchors."""
CASES_A_CENTER = len(RATIOS) * len(SCALES) * len(RATIOS)
STEPS = 200


def learning_rate(step: int) -> float:
    """Return the learning rate of a step, from 0: 0.1, from 160 on 0.01, from 180 on 0.001."""
    return 0.1 if step < 160 else 0.01 if step < 180 else 0.001


def make_centers(count: int, seed: int) -> Tensor:
    """Draw centers (2, count) of anchors, uniform in the disk around ``CENTER``."""
    drawn = torch.rand(2, count, generator=torch.Generator().manual_seed(seed))
    radius, angle = RADIUS * drawn[0].sqrt(), 2 * math.pi * drawn[1]
    return torch.stack([CENTER[0] + radius * angle.cos(), CENTER[1] + radius * angle.sin()])


def make_cases(centers: Tensor) -> tuple[Tensor, Tensor]:
    """Make anchors and targets (4, P * 343) for centers (2, P): all of one center, then all of the next."""
    wanted, areas, ratios = (
        grid.reshape(-1) for grid in torch.meshgrid(*map(torch.tensor, (RATIOS, SCALES, RATIOS)), indexing="ij")
    )
    anchors = torch.stack([(areas * ratios).sqrt(), (areas / ratios).sqrt()])
    targets = torch.stack([wanted.sqrt(), (1 / wanted).sqrt()])
    count = centers.shape[1]
    middle = torch.tensor(CENTER)[:, None].expand(2, count * CASES_A_CENTER)
    return (
        torch.cat([centers.repeat_interleave(CASES_A_CENTER, dim=1), anchors.repeat(1, count)]),
        torch.cat([middle, targets.repeat(1, count)]),
    )
