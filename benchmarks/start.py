"""Processor time of what starts a process anew: imports, help, a prediction, an evaluation, a training's first step.

    python benchmarks/start.py [--rounds 10]

A row is the median of that many processes, user and system together; the commands take turns, in a round more than is
counted: the first one compiles what isn't compiled yet, as installers do. The peer is `import
torch`, the floor of all that use a network: a ratio of 0.8 is 1.25 times its time. Pictures are 640 x 480, the network
is lite320's, evaluation is of 8 pictures, training is of 16, decoded in its own process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from turns import Row, arguments, child, median_interval, run

from boxwright._util.writing import write_json
from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.runs import Run

CLASSES = ("circle", "square")
FLOOR = "import torch"
FIRST_STEP = """
import os, sys
import boxwright as bw
from lightning.pytorch.callbacks import Callback
class End(Callback):
    def on_train_batch_end(self, *step):
        os._exit(0)
bw.train(sys.argv[1], recipe="lite320", out=sys.argv[2], val_split=None, steps=2, workers=0, callbacks=[End()])
sys.exit("no step was made")
"""


def write_data(root: Path, split: str, count: int) -> None:
    """Write pictures of noise with a box in each, as COCO."""
    rng = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(count)]
    (root / "images" / split).mkdir(parents=True)
    for name in names:
        pixels = rng.integers(0, 256, (480, 640, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / split / name)
    content = {
        "images": [{"id": i, "file_name": name, "width": 640, "height": 480} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [100, 100, 200, 150]} for i in range(count)
        ],
        "categories": [{"id": 1 + i, "name": name} for i, name in enumerate(CLASSES)],
    }
    write_json(root / "annotations" / f"instances_{split}.json", content)


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, by the name that the table has for it."""
    boxwright = [sys.executable, "-m", "boxwright"]
    data, run = folder / "data", folder / "run"
    write_data(data, "train", 16)
    write_data(data, "test", 8)
    Run(run).keep(build_detector(get_recipe("lite320", classes=CLASSES)))
    picture = next((data / "images" / "test").iterdir())
    imports = (
        FLOOR,
        "import torchvision",
        "import timm",
        "import lightning",
        "import boxwright",
        "import boxwright.models",
    )
    return {
        **{code: [sys.executable, "-c", code] for code in imports},
        "boxwright --help": [*boxwright, "--help"],
        "boxwright recipe show": [*boxwright, "recipe", "show", "lite320"],
        "boxwright parts": [*boxwright, "parts"],
        "boxwright predict, 1 picture": [*boxwright, "predict", str(run), str(picture), "--out", str(folder / "found")],
        "boxwright eval, 8 pictures": [*boxwright, "eval", str(run), str(data)],
        "train, up to its first step": [sys.executable, "-c", FIRST_STEP, str(data), str(folder / "trained")],
    }


def rows(options: Namespace) -> Iterator[Row]:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(options.rounds + 1):
            for name, command in commands(Path(place, str(turn))).items():
                seconds = child(*command).seconds
                if turn:
                    taken.setdefault(name, []).append(seconds)
    floor = taken[FLOOR]
    for name, seconds in taken.items():
        ratio = median_interval([least / own for least, own in zip(floor, seconds, strict=True)])
        yield Row(name, median(seconds), median(floor), ratio, "s")


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=10))
