"""CPU seconds and peak memory of each command as the data set grows.

    python benchmarks/growth.py [--sizes 100 1000 10000] [--only read|check|start|eval|hardest]

Made JPEGs of 160 x 120 pixels with five boxes each, in COCO's layout; every command is a process of its own, from its
start to its end: `read_dataset`, `boxwright check`, the first step of `boxwright train`, and `boxwright eval` and
`boxwright hardest` over all images with the run that the smallest size's step left. The network is lite320 at 64 px in
batches of 8, so that what grows with the data isn't hidden behind it. There is no peer. Sizes to 10,000 take about 8
minutes of CPU time.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from turns import Row, arguments, child, run

CLASSES, BOXES = 10, 5
WIDTH, HEIGHT = 160, 120
NETWORK = ("--set", "image_size=64", "--set", "batch_size=8")


def make_dataset(folder: Path, count: int) -> Path:
    """A COCO training split of so many images; a hundred different ones, each written again and again."""
    images = folder / "train"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for place in range(min(count, 100)):
        coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(images / f"{place:06d}.jpg", quality=90)
    for place in range(100, count):
        # A comment after the end of the picture keeps the files apart, as the check looks for copies.
        picture = (images / f"{place % 100:06d}.jpg").read_bytes()
        (images / f"{place:06d}.jpg").write_bytes(picture + place.to_bytes(4, "big"))
    corners = rng.uniform(0, [WIDTH - 60, HEIGHT - 60], (count * BOXES, 2)).round(1)
    xywh = np.hstack([corners, rng.uniform(10, 60, (count * BOXES, 2)).round(1)])
    labels = rng.integers(1, CLASSES + 1, count * BOXES)
    content = {
        "images": [
            {"id": place, "file_name": f"{place:06d}.jpg", "width": WIDTH, "height": HEIGHT} for place in range(count)
        ],
        "categories": [{"id": label, "name": f"class {label}"} for label in range(1, CLASSES + 1)],
        "annotations": [
            {"id": row, "image_id": row // BOXES, "category_id": label, "bbox": box, "area": box[2] * box[3]}
            for row, (label, box) in enumerate(zip(labels.tolist(), xywh.tolist(), strict=True))
        ],
    }
    (folder / "train.json").write_text(json.dumps(content))
    return folder


def commands(data: Path, run: Path, out: Path) -> dict[str, tuple[str | Path, ...]]:
    """By name; ``run`` is asked by eval and hardest, ``out`` is what start makes."""
    boxwright = (sys.executable, "-m", "boxwright")
    read = "import sys, boxwright; boxwright.read_dataset(sys.argv[1], 'train')"
    end = ("--val-split", "none", "--workers", "0", "--steps", "1", "--out", out)
    return {
        "read": (sys.executable, "-c", read, data),
        "check": (*boxwright, "check", data),
        "start": (*boxwright, "train", data, *NETWORK, *end),
        "eval": (*boxwright, "eval", run, data, "--split", "train"),
        "hardest": (*boxwright, "hardest", data, "--run", run),
    }


CASES = ("read", "check", "start", "eval", "hardest")


def rows(options: Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / str(options.sizes[0]) / "run"
        for size in options.sizes:
            data = make_dataset(folder / str(size) / "data", size)
            every = commands(data, run, folder / str(size) / "run")
            if options.only in ("eval", "hardest") and not run.exists():
                child(*every["start"])
            for case in [options.only] if options.only else CASES:
                used = child(*every[case])
                yield Row(f"{case}, {size:,} images", used.seconds, unit="s", note=f"{used.mebibytes:,.0f} MiB")


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1, cases=CASES)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    run(rows, parser)
