"""A made data set: a grid of objects of three classes in each image, and detections that find them nearly exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import boxwright as bw
from boxwright.evaluate import DetectionColumns
from dataset_builders import Box, write_voc

CLASSES = ("cat", "dog", "eel")
IMAGES = 12
SIDE = 12.0


def objects(image: int) -> list[Box]:
    """Eight objects of 12 x 12 pixels, 20 pixels apart."""
    return [
        (CLASSES[(image + column + row) % 3], x, y, x + SIDE, y + SIDE)
        for row, y in enumerate((5.0, 30.0))
        for column, x in enumerate((4.0, 24.0, 44.0, 64.0))
    ]


def write_scenes(root: Path, changes: dict[int, list[Box]] | None = None) -> bw.DetectionDataset:
    """A VOC data set of the objects, in some images of other labels."""
    labels = {f"i{image:02d}": (changes or {}).get(image, objects(image)) for image in range(IMAGES)}
    write_voc(root, labels, {"train": list(labels)})
    return bw.read_dataset(root, "train")


def detections(score: float = 0.9, seed: int = 0) -> DetectionColumns:
    """Of every object, with a box that is off by up to half a pixel."""
    rng = np.random.default_rng(seed)
    every = [(image, *box) for image in range(IMAGES) for box in objects(image)]
    corners = np.array([box[2:] for box in every]) + rng.uniform(-0.5, 0.5, (len(every), 4))
    return DetectionColumns(
        image=np.array([box[0] for box in every]),
        label=np.array([CLASSES.index(box[1]) for box in every]),
        score=np.full(len(every), score),
        xywh=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1),
    )
