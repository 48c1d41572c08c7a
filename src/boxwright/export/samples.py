"""Samples for verifying a model file: pictures, and candidates that no picture is sure to give."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from boxwright.data import read_dataset
from boxwright.data.inputs import Input
from boxwright.errors import BoxwrightError
from boxwright.models.detector import Detector
from boxwright.recipes import Recipe
from boxwright.runs import Run
from boxwright.runs.splits import split_file_for

PICTURES = 8
"""Number of given or generated pictures, in addition to a black one and one of noise."""
_SIZES = ((240, 320), (333, 200), (64, 64), (480, 640))  # H, W of those made


class Sample(NamedTuple):
    """A picture at the size of the network's input."""

    name: str
    input: Input


class Candidates(NamedTuple):
    """Generated scores (1, A, K) and boxes (1, A, 4) of all anchors."""

    name: str
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]


def pictures_of(run: Run, recipe: Recipe) -> list[Path]:
    """List the run's validation images; none if its data is gone or has no such split."""
    commands = run.record["origin"].get("commands") or [""]
    words = shlex.split(commands[0])
    data = Path(words[2]) if words[:2] == ["boxwright", "train"] and len(words) > 2 else None
    if data is None or not data.exists():
        return []
    try:
        options = recipe.reader_options
        options |= {"split_file": split_file_for(run, data, reader=options["reader"])}
        dataset = read_dataset(data, "val", classes=recipe.classes, **options)
        return [path for path in map(dataset.path, range(len(dataset))) if path.is_file()]
    except BoxwrightError:  # moved or changed since
        return []


def make_samples(detector: Detector, files: Sequence[Path]) -> list[Sample]:
    """Choose eight pictures evenly from the ``files``, generating missing ones, plus a black one and one of noise."""
    step = max(len(files) / PICTURES, 1)
    chosen: list[tuple[str, Any]] = [
        (files[int(place * step)].name, files[int(place * step)]) for place in range(min(len(files), PICTURES))
    ]
    rng = np.random.default_rng(0)
    made = PICTURES - len(chosen)
    chosen += [(f"made picture {number}", _picture(rng, _SIZES[number % len(_SIZES)])) for number in range(made)]
    chosen.append(("black picture", np.zeros((*_SIZES[0], 3), np.uint8)))
    chosen.append(("picture of noise", rng.integers(0, 256, (*_SIZES[1], 3), np.uint8)))
    return [Sample(name, detector.prepare(picture)) for name, picture in chosen]


def _picture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw bright shapes on a slowly changing background, (H, W, 3)."""
    height, width = size
    ground = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels = np.array(ground)
    for _ in range(6):
        y, x = int(rng.integers(0, height - 8)), int(rng.integers(0, width - 8))
        rows, columns = int(rng.integers(8, height // 2 + 8)), int(rng.integers(8, width // 2 + 8))
        pixels[y : y + rows, x : x + columns] = rng.integers(0, 256, 3, np.uint8)
    return pixels


def make_candidates(anchors: int, classes: int, side: int, lowest: float) -> Iterator[Candidates]:
    """Generate difficult candidates, in a square of ``side`` pixels.

    They are: nothing above the ``lowest`` score; small boxes far apart, possibly more than fit; crowds in a few places.
    """
    rng = np.random.default_rng(0)
    shape = (1, anchors, classes)
    scores = rng.uniform(lowest, 1, shape).astype(np.float32)
    cells = int(np.ceil(anchors**0.5))
    row, column = np.divmod(np.arange(anchors), cells)
    apart = np.stack([column, row, column + 0.9, row + 0.9], 1) * (side / cells)
    yield Candidates("nothing found", np.full(shape, lowest, np.float32), apart[None].astype(np.float32))
    yield Candidates("more than there is room for", scores, apart[None].astype(np.float32))
    centers = rng.uniform(0, side, (8, 2))[rng.integers(0, 8, anchors)] + rng.normal(0, side / 40, (anchors, 2))
    half = rng.uniform(side / 20, side / 4, (anchors, 2))
    crowds = np.concatenate([centers - half, centers + half], 1)
    yield Candidates("crowds", scores**3, crowds[None].astype(np.float32))


def as_batch(samples: Sequence[Sample], any_size: bool) -> dict[str, Tensor]:
    """Stack samples into a model's inputs: ``images`` (B, H, W, 3).

    Where inputs may have any size, they are padded to the largest, and ``valid_size`` (B, 2) gives the size of each.
    """
    pixels = [torch.from_numpy(sample.input.pixels) for sample in samples]
    if not any_size:
        return {"images": torch.stack(pixels)}
    height, width = (max(each.shape[side] for each in pixels) for side in (0, 1))
    padded = [F.pad(each, (0, 0, 0, width - each.shape[1], 0, height - each.shape[0])) for each in pixels]
    return {"images": torch.stack(padded), "valid_size": torch.tensor([sample.input.frame.size for sample in samples])}
