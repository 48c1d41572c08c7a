"""A few small images with objects of all kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from inspect_builders import random_boxes, write_voc_with_difficult

from boxwright.data import DetectionDataset, read_dataset


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images: one without objects, the others with up to seven, some of them difficult."""
    rng = np.random.default_rng(5)
    images = [
        [(box, int(place == 2)) for place, box in enumerate(random_boxes(rng, count))]
        for count in (0, 1, 3, 4, 5, 6, 7, 4)
    ]
    return write_voc_with_difficult(tmp_path_factory.mktemp("objects"), images)


@pytest.fixture(scope="session")
def dataset(folder: Path) -> DetectionDataset:
    return read_dataset(folder, voc_one_based=False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
