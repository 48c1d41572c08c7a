"""How large an experiment is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Size:
    """What an experiment takes. The more, the smaller a difference that it can tell from chance."""

    images: int
    """Of the training split."""
    validation: int
    """Images that the arms are compared on."""
    steps: int
    """Of each training, 16 images a step."""
    seeds: int
    """Trainings of each arm."""
    centres: int
    """Places where anchors start in the box regression, 343 cases each."""
    draws: int
    """Of these places."""


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "trial": Size(images=16, validation=8, steps=2, seeds=2, centres=2, draws=3),
        "small": Size(images=400, validation=150, steps=200, seeds=3, centres=1000, draws=3),
        "full": Size(images=2000, validation=400, steps=2000, seeds=5, centres=1000, draws=5),
    }
)
"""trial: whether all runs; it tells nothing. small: less than an hour of one core. full: some eight hours of one."""
