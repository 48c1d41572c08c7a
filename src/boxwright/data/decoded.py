"""An image's pixels in memory: all of them, or a reduced version that is just as good for its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Reduction = Callable[[int, int], int]
"""Height and width of an image -> 1, 2, 4 or 8, the pixels a side that become one as it is decoded."""


class Decoded(NamedTuple):
    """A decoded image."""

    pixels: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    size: tuple[int, int]
    """(H, W) of the image, which boxes go by."""
    factor: int = 1
    """Pixels of the image a side that each of these stands for."""
    before: tuple[int, int] = (0, 0)
    """Number of pixels in the first row and column's cells that lie above and left of the image."""

    @classmethod
    def whole(cls, pixels: NDArray[np.uint8]) -> Decoded:
        """Wrap all pixels (H, W, 3) of an image."""
        return cls(pixels, (pixels.shape[0], pixels.shape[1]))

    def place(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Convert a box xyxy of the image to ``pixels``."""
        above, left = self.before
        x0, y0, x1, y1 = box
        return (
            (x0 + left) / self.factor,
            (y0 + above) / self.factor,
            (x1 + left) / self.factor,
            (y1 + above) / self.factor,
        )
