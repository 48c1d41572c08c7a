"""Peak memory of whole processes.

    python benchmarks/memory.py

- A training of lite320 with batches of 8 (`boxwright.train` on made digits, two epochs with validation), and steps
  alone of torchvision's SSD on the same backbone and batch, in the same memory format and precision.
- Reading a made COCO file as large as train2017 (118,000 images, 860,000 boxes; no image files), against pycocotools:
  memory and CPU seconds of the processes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from turns import Row, Used, arguments, child, once, run

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80


def make_annotations(path: Path) -> None:
    """COCO JSON with boxes of all sizes and no masks."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, [500, 340], (BOXES, 2)).round(2)
    sides = rng.uniform(2, 140, (BOXES, 2)).round(2)
    owners, labels = rng.integers(1, IMAGES + 1, BOXES), rng.integers(1, CLASSES + 1, BOXES)
    content = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in range(1, IMAGES + 1)],
        "categories": [{"id": label, "name": f"class {label}"} for label in range(1, CLASSES + 1)],
        "annotations": [
            {
                "id": row + 1,
                "image_id": owner,
                "category_id": label,
                "bbox": [*corner, *side],
                "area": side[0] * side[1],
            }
            | {"iscrowd": 0}
            for row, (owner, label, corner, side) in enumerate(
                zip(owners.tolist(), labels.tolist(), corners.tolist(), sides.tolist(), strict=True)
            )
        ],
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


TRAIN = """
import sys
from pathlib import Path
from rich.console import Console
import boxwright as bw
from boxwright.demo_data import make_digits

folder = Path(sys.argv[1])
data = make_digits(folder / "digits", images={"train": 40, "val": 8}, size=320)
run = bw.train(data, epochs=2, out=folder / "run", console=Console(quiet=True))
print(run.record["training"]["precision"])
"""
STEPS = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from gpu_steps import peer_step
from step import ON_LITE0

step = peer_step(ON_LITE0, torch.device("cpu"), getattr(torch, sys.argv[2]))
for _ in range(5):
    step()
"""
READ = f"""
import sys
import boxwright as bw

assert len(bw.read_dataset(sys.argv[1], "train").boxes) == {BOXES}
"""
READ_PEER = f"""
import sys
from pycocotools.coco import COCO

assert len(COCO(sys.argv[1] + "/annotations/instances_train.json").anns) == {BOXES}
"""


def python(code: str, *words: str | Path) -> Used:
    return child(sys.executable, "-c", code, *words)


def rows(options: Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = python(TRAIN, folder)
        precision = ours.output.split()[-1]
        peer = python(STEPS, Path(__file__).parent, {"bf16": "bfloat16"}.get(precision, "float32"))
        note = f"{precision}, channels_last; peer: steps alone"
        yield once("lite320, batches of 8, whole run", ours.mebibytes, peer.mebibytes, note=note)
        make_annotations(folder / "annotations" / "instances_train.json")
        ours, peer = python(READ, folder), python(READ_PEER, folder)
        case = f"reading {IMAGES:,} images, {BOXES:,} boxes"
        yield once(f"{case}, memory", ours.mebibytes, peer.mebibytes)
        yield once(case, ours.seconds, peer.seconds, "s")


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=1))
