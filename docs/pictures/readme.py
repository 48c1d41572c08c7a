"""The picture of README.md: what a run finds in a test image, beside the comparison of walkthrough.md.

python docs/pictures/readme.py RUN DATA, the run and the blood cells of the walkthrough. The differences are those that
its page prints.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MultipleLocator
from style import FOLDER, color, figure, save

import boxwright as bw
from boxwright.data import decode_image
from boxwright.drawing import draw_detections

IMAGE, SCORE = "BloodImage_00233", 0.45
SIGNED = r"[-+]\d\.\d+"
ROW = re.compile(rf"^(\S.*?)  .*  ({SIGNED}) \[({SIGNED}), ({SIGNED})\]  +(.+)$", re.M)


def main() -> None:
    run, data = sys.argv[1:]
    drawn, (left, right) = figure(2, height=3.3, font=11.5)
    show_found(left, run, data)
    show_differences(right)
    save(drawn, "readme")


def show_found(axes: plt.Axes, run: str, data: str) -> None:
    """The detections of one image of the test split."""
    test = bw.read_dataset(data, "test")
    (path,) = [test.path(i) for i in range(len(test)) if Path(test.path(i)).stem == IMAGE]
    (found,) = bw.load(run).predict([path], score=SCORE)
    pixels = np.asarray(decode_image(path))
    axes.imshow(draw_detections(pixels, found.boxes, found.labels, found.scores, test.classes))
    axes.set_axis_off()
    axes.set_title("Found in an image of the test split", loc="left")


def show_differences(axes: plt.Axes) -> None:
    """Each arm's difference to the recipe with its interval, and the verdict."""
    page = (FOLDER.parent / "walkthrough.md").read_text(encoding="utf-8")
    rows = [(name, float(mean), float(low), float(high), said) for name, mean, low, high, said in ROW.findall(page)]
    for place, (_, mean, low, high, verdict) in enumerate(reversed(rows)):
        shade = color(3) if verdict in ("worse", "better") else color(0)
        axes.plot([low, high], [place, place], color=shade, linewidth=2, solid_capstyle="butt")
        axes.plot(mean, place, "s", color=shade, markersize=5)
        beside = high + 0.004 if mean < -0.05 else low - 0.004
        axes.text(beside, place, verdict, va="center", ha="left" if mean < -0.05 else "right", color=shade)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.xaxis.set_major_locator(MultipleLocator(0.05))
    axes.set_xlabel("AP minus that of the recipe as it is;\n3 seeds, 95 % interval over seeds and images")
    axes.set_title("Compared on the validation split", loc="left")


if __name__ == "__main__":
    main()
