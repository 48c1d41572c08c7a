"""Targets of two images of 128 px, which the tests of several detectors share."""

from __future__ import annotations

import torch

from boxwright.types import Targets


def some_targets() -> Targets:
    boxes = torch.tensor([[[10.0, 12, 70, 90], [60, 20, 124, 60]], [[30, 30, 100, 110], [0, 0, 0, 0]]])
    return Targets(boxes, torch.tensor([[0, 2], [1, -1]]), torch.zeros(2, 2, dtype=torch.bool))


def no_targets() -> Targets:
    return Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
