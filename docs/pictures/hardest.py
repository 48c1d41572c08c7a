"""The five faults of hardest.md, planted in the built-in digits under a detector that is nearly right."""

from __future__ import annotations

import tempfile
from dataclasses import replace

import numpy as np
from style import FOLDER

import boxwright as bw
from boxwright.data import decode_image
from boxwright.demo_data import make_digits
from boxwright.drawing import contact_sheet
from boxwright.evaluate import DetectionColumns
from boxwright.hardest import KINDS, rank_labels
from boxwright.hardest.page import draw_suspect

EMPTY = (3, 3, 24, 30)
"""A place in the fifth image on which there is nothing."""


def nearly_right(dataset: bw.DetectionDataset) -> DetectionColumns:
    """A detection of every object."""
    rng = np.random.default_rng(0)
    sides = dataset.xywh[:, 2:]
    return DetectionColumns(
        image=np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets)),
        label=dataset.labels,
        score=rng.uniform(0.7, 0.95, len(sides)),
        xywh=dataset.xywh + np.tile(sides, 2) * rng.normal(0, 0.02, (len(sides), 4)),
    )


def spoil(dataset: bw.DetectionDataset) -> bw.DetectionDataset:
    """The last box of images 1 to 5: left out, misnamed, moved, drawn twice, and drawn again where nothing is."""
    missing, misnamed, moved, twice, again = (dataset.offsets[2:7] - 1).tolist()
    origin = np.sort(np.concatenate([np.delete(np.arange(len(dataset.boxes)), missing), [twice, again]]))
    boxes, labels = dataset.boxes[origin].copy(), dataset.labels[origin].copy()
    place = {row: int(np.flatnonzero(origin == row)[-1]) for row in (misnamed, moved, twice, again)}
    labels[place[misnamed]] = (labels[place[misnamed]] + 1) % 10
    boxes[place[moved]] += 7
    boxes[place[twice]] += [-2, 1, 2, 3]
    boxes[place[again]] = EMPTY
    owner = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[origin]
    counts = np.bincount(owner, minlength=len(dataset))
    return replace(
        dataset,
        boxes=boxes,
        labels=labels,
        code=dataset.code[origin],
        areas=dataset.areas[origin],
        xywh=np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clean = bw.read_dataset(make_digits(folder, images={"train": 150}, size=160), "train")
        labels, found = spoil(clean), nearly_right(clean)
        suspects = rank_labels(found, labels)
        panels = []
        for kind in range(len(KINDS)):
            suspect = suspects.take(suspects.kind == kind).take(slice(1))
            print(f"{KINDS[kind]:12s} {suspect.score[0]:.2f}")
            panels += draw_suspect(decode_image(labels.path(int(suspect.image[0]))), suspect, labels, found, 0.3)
        contact_sheet([*panels[::2], *panels[1::2]], columns=len(KINDS), cell=170).save(FOLDER / "hardest.png")


if __name__ == "__main__":
    main()
