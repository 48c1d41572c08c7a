"""How long ways of doing one thing take, in CPU time, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

clock: Callable[[], float] = time.process_time
"""Seconds of this process's CPU time, over all its threads: what else the machine does leaves them as they are."""


def least_seconds(ways: Sequence[Callable[[], object]], turns: int, budget: float) -> list[float]:
    """Time alternatives in turns, and return the smallest CPU seconds of each.

    The first turn warms up too, and no other begins once ``budget`` seconds are used.
    """
    least = [float("inf")] * len(ways)
    used = 0.0
    for _ in range(turns):
        for place, way in enumerate(ways):
            before = clock()
            way()
            taken = clock() - before
            least[place], used = min(least[place], taken), used + taken
        if used > budget:
            break
    return least
