"""How much a server takes at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from boxwright.errors import RecipeError


@dataclass(frozen=True)
class Limits:
    """Bounds of what requests may cost. Raises RecipeError for values that aren't positive, or don't fit each other."""

    body: int = 16 * 2**20
    """Bytes of a request."""
    pixels: int = 25_000_000
    """Largest number of pixels of an image, as its header says, before it is decoded."""
    images: int = 16
    """Largest number of images in a request."""
    queue: int = 64
    """Images that are decoded, wait or are computed; a request beyond is answered 503."""
    batch: int = 8
    """Images that the network computes at a time."""
    delay: float = 0.005
    """Seconds that an image waits at most for others to be computed with; none where no other is on its way."""
    patience: float = 20.0
    """Seconds that a client may take to send a request."""
    connections: int = 128
    """Open at a time; one beyond is answered 503."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isfinite(value) and (value > 0 or (field.name == "delay" and value == 0))):
                raise RecipeError(f"Expected {field.name} above 0 but got {value}")
        if self.images > self.queue:
            raise RecipeError(f"Expected images of a request, {self.images}, to fit the queue of {self.queue}")
