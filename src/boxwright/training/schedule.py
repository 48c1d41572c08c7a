"""The progress of a training, and its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from boxwright.choices import naming_failures, required
from boxwright.errors import RecipeError
from boxwright.parts import schedule


class Progress:
    """The share of the training that is done, by steps or minutes. Only running time counts: see ``pause``."""

    def __init__(self, *, steps: int | None = None, minutes: float | None = None) -> None:
        """Set exactly one limit; raises ValueError otherwise, or for a limit that is not above 0."""
        if (steps is None) == (minutes is None):
            raise ValueError(f"Expected either steps or minutes but got {steps} and {minutes}")
        limit = steps if minutes is None else minutes
        if limit is None or not limit > 0:
            raise ValueError(f"Expected a training of more than 0 but got {limit}")
        self.steps = steps
        self.seconds = None if minutes is None else 60 * minutes
        self.done = 0.0
        """In 0..1, at the last ``mark``."""
        self._elapsed = 0.0
        self._since: float | None = None

    @property
    def elapsed(self) -> float:
        """Return the seconds of training so far, without validation and set-up, over all parts of a resumed run."""
        return self._elapsed + (0.0 if self._since is None else time.monotonic() - self._since)

    def mark(self, step: int, elapsed: float) -> None:
        """Record the number of steps and seconds done, the same on all ranks."""
        share = elapsed / self.seconds if self.seconds else step / (self.steps or 1)
        self.done = min(share, 1.0)

    def start(self, elapsed: float = 0.0) -> None:
        """Start the clock after the ``elapsed`` seconds of an earlier part of the training."""
        self._elapsed, self._since = elapsed, time.monotonic()

    def resume(self) -> None:
        """Continue the clock."""
        if self._since is None:
            self._since = time.monotonic()

    def pause(self) -> None:
        """Stop the clock."""
        self._elapsed, self._since = self.elapsed, None


def lr_factor(done: float, warmup: float, after: Callable[[float], float]) -> float:
    """Compute the share of the peak learning rate: a linear warm-up, then the schedule ``after`` it.

    ``warmup`` is the share of the training that the warm-up takes.
    """
    if done < warmup:
        return max(done / warmup, 0.001)
    return after(min((done - warmup) / max(1 - warmup, 1e-9), 1.0))


def find_schedule(choice: str) -> Callable[[float], float]:
    """Find the schedule that a recipe names; raises RecipeError for a custom one that fails, or returns no factor."""
    part = required("schedule", choice)
    for done in (0.0, 0.5, 1.0):
        with naming_failures("schedule", choice):
            factor = part(done)
        if not isinstance(factor, int | float) or not 0 <= factor < math.inf:
            raise RecipeError(
                f"Expected schedule={choice} to return a factor of the learning rate, at least 0, but got {factor!r} "
                f"at {done}"
            )
    return part


@schedule
def cosine(done: float, final: float = 0.01) -> float:
    """Decay from 1 to ``final`` as half a cosine (SGDR, arXiv:1608.03983, eq. 5, one cycle)."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


@schedule
def constant(done: float) -> float:
    """Stay at the peak."""
    return 1.0


@schedule
def steps(done: float, at: Sequence[float] = (0.67, 0.89), factor: float = 0.1) -> float:
    """Decay by ``factor`` at each of these shares of the training, as SSD and Faster R-CNN do."""
    return float(factor ** sum(done >= share for share in at))
