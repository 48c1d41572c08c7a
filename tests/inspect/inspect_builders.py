"""A small recipe, and small images with objects of all kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boxwright.recipes import Recipe, get_recipe
from dataset_builders import HEIGHT, WIDTH, Box, voc_object, write_picture, write_text

SSD_LIKE = {
    "class_loss": "cross_entropy",
    "box_loss": "smooth_l1",
    "coder": "delta",
    "normalizer": "positives",
    "miner": "hard_negatives:ratio=3",
}


def small_recipe(**options: object) -> Recipe:
    """lite320's network at 64 px: 84 anchors, squares of 32, 64 and 128 px unless ``anchors`` says otherwise."""
    return get_recipe(
        "lite320", **{"image_size": 64, "width": 16, "pretrained": False, "freeze": 0, "augment": "none", **options}
    )


def random_boxes(rng: np.random.Generator, count: int) -> list[Box]:
    boxes = []
    for _ in range(count):
        w, h = rng.uniform(3, 40, 2)
        x, y = rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h)
        boxes.append((("cat", "dog")[int(rng.integers(2))], round(x, 1), round(y, 1), round(x + w, 1), round(y + h, 1)))
    return boxes


def write_voc_with_difficult(root: Path, images: list[list[tuple[Box, int]]]) -> Path:
    for seed, boxes in enumerate(images):
        write_picture(root / "JPEGImages" / f"{seed:02d}.jpg", seed)
        objects = "".join(voc_object(name, *corners, difficult=code) for (name, *corners), code in boxes)
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        write_text(
            root / "Annotations" / f"{seed:02d}.xml",
            f"<annotation><filename>{seed:02d}.jpg</filename>{size}{objects}</annotation>",
        )
    return root
