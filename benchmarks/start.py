"""Processor time of what starts a process anew: imports, help, a recipe, one prediction, a small evaluation, a training
up to its first step.

Run: ``python benchmarks/start.py [--processes 10]``. Each line is the median, least and most of that many processes,
user and system together, on one thread; the commands take turns, so that what else the machine does meets all of them.
``import torch`` is the floor of all that use a network, and is subtracted in the last column. Pictures are 640 x 480,
the network is lite320's, evaluation is of 8 pictures, training is of 16, decoded in its own process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from boxwright._util.writing import write_json
from boxwright.environment import environment_line
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
bw.train(sys.argv[1], out=sys.argv[2], val_split=None, steps=2, workers=0, callbacks=[End()])
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


def processor_time(command: list[str]) -> float:
    """Seconds, user and system, of a process and those that it starts. Raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=10)
    processes = parser.parse_args().processes
    print(environment_line())
    with tempfile.TemporaryDirectory() as place:
        taken: dict[str, list[float]] = {}
        for _ in range(processes):
            folder = Path(place, str(len(taken.get(FLOOR, ()))))
            for name, command in commands(folder).items():
                taken.setdefault(name, []).append(processor_time(command))
    floor = statistics.median(taken[FLOOR])
    print(f"{'CPU seconds':<30} {'median':>7} {'least':>7} {'most':>7} {'over torch':>11}")
    for name, times in taken.items():
        median = statistics.median(times)
        over = f"{median - floor:11.2f}" if median > floor else f"{'-':>11}"
        print(f"{name:<30} {median:7.2f} {min(times):7.2f} {max(times):7.2f} {over}")


if __name__ == "__main__":
    main()
