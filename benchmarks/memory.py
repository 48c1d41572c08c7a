"""Peak memory of whole runs, each in a process of its own.

    OMP_NUM_THREADS=1 python benchmarks/memory.py

- A training of lite320 with batches of 8 (`boxwright.train` on made digits, two epochs with validation), and steps of
  torchvision's SSD on the same backbone and batch.
- Reading a made COCO file as large as train2017 (118,000 images, 860,000 boxes; no image files), against pycocotools.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def run_case(case: str, folder: Path) -> None:
    """One case, in this process."""
    start = time.perf_counter()
    if case == MAKING:
        make_annotations(folder / "annotations" / "instances_train.json")
        return
    if case == "boxwright lite320, batches of 8":
        from rich.console import Console

        import boxwright as bw
        from boxwright.demo_data import make_digits

        data = make_digits(folder / "digits", images={"train": 40, "val": 8}, size=320)
        bw.train(data, epochs=2, out=folder / "run", console=Console(quiet=True))
    elif case == "torchvision SSD on Lite0, batches of 8":
        from step import peer_on_lite0, peer_step

        step = peer_step(peer_on_lite0(), 8, 320)
        for _ in range(5):
            step()
    elif case == "boxwright reads COCO's size":
        import boxwright as bw

        assert len(bw.read_dataset(folder, "train").boxes) == BOXES
    else:
        from pycocotools.coco import COCO

        assert len(COCO(folder / "annotations" / "instances_train.json").anns) == BOXES
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{case:42s} {peak:7.0f} MB   {time.perf_counter() - start:6.1f} s")


MAKING = "making annotations"
CASES = (
    "boxwright lite320, batches of 8",
    "torchvision SSD on Lite0, batches of 8",
    "boxwright reads COCO's size",
    "pycocotools reads COCO's size",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=(MAKING, *CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        run_case(arguments.case, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        for case in (MAKING, *CASES):  # all of them in processes: a child's peak is never below its parent's size
            subprocess.run([sys.executable, __file__, "--case", case, "--folder", folder], check=True)


if __name__ == "__main__":
    main()
