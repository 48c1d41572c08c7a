"""Sizes of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Size:
    """The amount of work in an experiment: larger ones can detect smaller differences."""

    images: int
    """Images of the training split."""
    validation: int
    """Images on which the arms are compared."""
    steps: int
    """Steps of each training, with 16 images each."""
    seeds: int
    """Trainings of each arm."""
    centers: int
    """Positions where anchors start in the box regression, 343 cases each."""
    draws: int
    """Draws of these positions."""


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "trial": Size(images=16, validation=8, steps=2, seeds=2, centers=2, draws=3),
        "small": Size(images=400, validation=150, steps=200, seeds=3, centers=1000, draws=3),
        "full": Size(images=2000, validation=400, steps=2000, seeds=5, centers=1000, draws=5),
    }
)
"""trial: checks only that everything runs. small: under an hour of one core. full: about eight hours."""
