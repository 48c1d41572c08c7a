"""How the pictures of the documents look: one width, a palette for all kinds of color vision, no decoration."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from boxwright.drawing import class_color

FOLDER = Path(__file__).parent


def color(place: int) -> tuple[float, float, float]:
    """The place-th color of boxwright's palette, as matplotlib takes it."""
    red, green, blue = class_color(place)
    return red / 255, green / 255, blue / 255


def figure(columns: int = 1, height: float = 3.6, font: float = 9) -> tuple[Figure, list[plt.Axes]]:
    """A figure of nine inches' width with this many plots beside one another; ``font`` in points."""
    plt.rcParams.update({"font.size": font, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"})
    drawn, axes = plt.subplots(1, columns, figsize=(9, height), squeeze=False, layout="constrained")
    return drawn, list(axes[0])


def save(drawn: Figure, name: str) -> None:
    """Write NAME.png beside this file."""
    drawn.savefig(FOLDER / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(drawn)
