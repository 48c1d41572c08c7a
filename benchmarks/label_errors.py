"""How many planted label errors `boxwright hardest` ranks first, against ranking by raw loss.

    OMP_NUM_THREADS=1 python benchmarks/label_errors.py DATA [--share 0.05] [--epochs 12] [--folds 3] [--out DIR]

In the training split of DATA a share of the boxes is made wrong in each of four ways, every box in one way at most:
left out; given another class; moved by 10 to 30 % of its width and of its height; drawn twice, the second time with
each side off by up to 5 % of the size. lite320 is trained on the result, and the labels are ranked by its own
detections and by those of detectors that never saw the image. The trainings are kept under --out, and found again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import boxwright as bw
from boxwright.data import NORMAL, DetectionDataset
from boxwright.hardest.folds import predict_out_of_fold

KINDS = ("missing", "wrong class", "shifted", "duplicate")


@dataclass(frozen=True)
class Planted:
    """A data set with errors, and what was done to it. Rows of boxes are those of the data set with errors."""

    dataset: DetectionDataset
    kind: NDArray[np.int64]
    """(m,) place in KINDS of what is wrong with the box, -1 for nothing; both boxes of a duplicate."""
    origin: NDArray[np.int64]
    """(m,) row of the box in the data set that was given."""
    missing: NDArray[np.int64]
    """Rows of the boxes left out, in the data set that was given."""


def plant(dataset: DetectionDataset, share: float, seed: int) -> Planted:
    """Make a share of the boxes wrong in each way."""
    rng = np.random.default_rng(seed)
    count = round(share * len(dataset.boxes))
    chosen = rng.permutation(np.flatnonzero(dataset.code == NORMAL))[: 4 * count].reshape(4, count)
    kind = np.full(len(dataset.boxes), -1)
    for place, rows in enumerate(chosen):
        kind[rows] = place
    missing, wrong, shifted, duplicate = chosen
    labels, boxes = dataset.labels.copy(), dataset.boxes.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, len(dataset.classes), count)) % len(dataset.classes)
    sides = boxes[:, 2:] - boxes[:, :2]
    moves = rng.uniform(0.1, 0.3, (count, 2)) * rng.choice([-1, 1], (count, 2)) * sides[shifted]
    boxes[shifted] += np.tile(moves, 2)
    copies = boxes[duplicate] + rng.uniform(-0.05, 0.05, (count, 4)) * np.tile(sides[duplicate], 2)
    origin = np.concatenate([np.setdiff1d(np.arange(len(boxes)), missing), duplicate])
    twice = np.concatenate([np.zeros(len(boxes) - count, np.bool_), np.ones(count, np.bool_)])
    order = np.lexsort((twice, origin))
    every = np.concatenate([boxes[origin[~twice]], copies])[order]
    origin = origin[order]
    owner = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[origin]
    height, width = dataset.sizes[owner].T.astype(np.float32)
    every = np.clip(every, 0, np.stack([width, height, width, height], 1))
    xywh = np.concatenate([every[:, :2], every[:, 2:] - every[:, :2]], 1).astype(np.float64)
    counts = np.bincount(owner, minlength=len(dataset))
    changed = replace(
        dataset,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=every,
        labels=labels[origin],
        code=dataset.code[origin],
        xywh=xywh,
        areas=xywh[:, 2] * xywh[:, 3],
        annotation_ids=np.arange(1, len(every) + 1),
        numbers=np.arange(len(every)) - np.repeat(np.cumsum(counts) - counts, counts),
    )
    return Planted(changed, kind[origin], origin, missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/label-errors"))
    arguments = parser.parse_args()
    console = Console()
    clean = bw.read_dataset(arguments.data, "train")
    planted = plant(clean, arguments.share, arguments.seed)
    run = arguments.out / "run"
    if not (run / "model.safetensors").is_file():
        bw.train(planted.dataset, epochs=arguments.epochs, out=run, console=console)
    predict_out_of_fold(run, planted.dataset, arguments.folds, console=console)


if __name__ == "__main__":
    main()
