"""A run as a training leaves it, though nothing was learnt: quick to make, and quick to ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.runs import Run

SMALL = {"image_size": 64, "width": 16, "pretrained": False, "freeze": 0, "augment": "none"}


def keep_tiny_run(folder: Path, classes: Sequence[str], **options: object) -> Run:
    """lite320's network at 64 px; its weights are the same each time."""
    recipe = get_recipe("lite320", classes=tuple(classes), score=0.01, **{**SMALL, **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = build_detector(recipe, pretrained=False)
    run = Run(folder)
    run.keep(detector)
    return run
