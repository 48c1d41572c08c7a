"""Generated data that claims are tested on: handwritten digits, arranged so that a claim can show an effect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from boxwright._util.writing import write_json
from boxwright.demo_data import CLASSES, Layout, make_digits

SIDE = 112
"""Side of the images in pixels."""

_SIDES = (1 / 6, 0.4)
_USUAL = Layout(most=6, sides=_SIDES)


def falling_shares(power: float) -> tuple[float, ...]:
    """Compute the digits' shares (10,) of the training split: the k-th is 1 / k^power as frequent as the first."""
    return tuple(1 / k**power for k in range(1, len(CLASSES) + 1))


@dataclass(frozen=True)
class Scenes:
    """One of the data sets."""

    told: str
    """Description of its content, for the page."""
    layout: Layout = field(default_factory=lambda: _USUAL)
    shares: Sequence[float] | None = None
    """Shares of the classes in the training split."""
    moved: float = 0.0
    """Share of the training boxes that are moved, by .3 of their sides."""


SCENES: Mapping[str, Scenes] = MappingProxyType(
    {
        "digits": Scenes("1 to 6 digits an image"),
        "rare": Scenes(
            "one digit an image, which has 1,029 anchors; the k-th class 1 / k times as often as the first",
            Layout(most=1, sides=_SIDES),
            falling_shares(1),
        ),
        "tail": Scenes(
            "1 to 6 digits an image; the k-th class 1 / k^2 times as often as the first", _USUAL, falling_shares(2)
        ),
        "noise": Scenes("1 to 6 digits an image; a fifth of the training boxes moved by .3 of their sides", moved=0.2),
        "large": Scenes(
            "1 or 2 digits in half of the images, half to nine tenths of the side",
            Layout(most=2, empty=0.5, sides=(0.5, 0.9)),
        ),
        "crowds": Scenes(
            "10 to 20 digits of one class an image, one in seven under another at an IoU above .45",
            Layout(fewest=10, most=20, empty=0.0, sides=(0.2, 0.4), visible=0.5, alike=True),
        ),
    }
)


def make_scenes(folder: Path, name: str, images: int, validation: int) -> Path:
    """Write the data set of a name once, with this many images; return its folder."""
    done = folder / "annotations" / "made.json"
    if done.exists():
        return folder
    scenes = SCENES[name]
    counts = {"train": images, "val": validation}
    make_digits(folder, images=counts, size=SIDE, layout=scenes.layout, shares=scenes.shares, overwrite=True)
    if scenes.moved:
        move_boxes(folder / "annotations" / "instances_train.json", scenes.moved)
    write_json(done, {"scenes": name, "images": counts})
    return folder


def move_boxes(file: Path, share: float, seed: int = 0) -> None:
    """Move a share of a COCO file's boxes by .3 of their sides in random directions, keeping all inside the image."""
    content = json.loads(file.read_text(encoding="utf-8"))
    rng = np.random.default_rng(seed)
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        chosen = rng.random() < share
        right, down = rng.choice((-0.3, 0.3), 2).tolist()
        if chosen:
            x = float(np.clip(x + right * w, 0, SIDE - w))
            y = float(np.clip(y + down * h, 0, SIDE - h))
            annotation["bbox"] = [x, y, w, h]
    write_json(file, content, indent=None)
