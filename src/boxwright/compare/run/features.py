"""The backbone's features of a fixed set of augmented views, computed once for all arms and kept on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import BinaryIO, TypedDict
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright._util.folders import make_folder
from boxwright._util.own_files import read_own_json, typed
from boxwright._util.writing import write_json, written_aside
from boxwright.data import DetectionDataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import Sample, TrainingSet, collate
from boxwright.data.sampling import Showing, decode, encode
from boxwright.errors import DataError, RecipeError
from boxwright.models import Detector, build_detector
from boxwright.recipes import Recipe
from boxwright.types import Targets

VIEWS = 8
"""Augmented views of each image, at most; an epoch uses one of them."""

_BATCH = 16
_CURE = ": remove the folder, and the features are computed again"
_CACHE_KEYS = (
    "detector",
    "classes",
    "backbone",
    "pretrained",
    "image_size",
    "resize",
    "mean",
    "std",
    "strides",
    "augment",
    "flip",
    "negatives",
    "reader",
    "voc_one_based",
    "exif",
    "depth_range",
    "max_pixels",
    "decode",
)
"""The recipe keys that the features depend on."""


def cache_name(recipe: Recipe) -> str:
    """Name the folder of the features: the same for recipes that share them."""
    values = recipe.to_dict()
    text = json.dumps([values[key] for key in _CACHE_KEYS])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Features:
    """Maps and targets of every view: row ``view * images + place``."""

    images: int
    readable: list[int]
    """Indices in the data set."""
    maps: list[NDArray[np.float16]]
    """(rows, C, H, W) of each level, on disk."""
    samples: list[Sample]
    """The targets of each row; the images are empty."""

    @property
    def views(self) -> int:
        """The number of views of each image."""
        return len(self.samples) // self.images

    @classmethod
    def open(cls, folder: Path) -> Features:
        """Open what ``cache_features`` wrote; raises RecipeError if a file is missing or damaged."""
        meta = _read_meta(folder)
        try:
            maps = [np.load(folder / f"map-{level}.npy", mmap_mode="r") for level in range(meta["levels"])]
            samples = _read_targets(folder / "targets.npz")
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):
            samples, maps = [], []
        images = len(meta["readable"])
        if not samples or not images or len(samples) % images or {len(level) for level in maps} != {len(samples)}:
            raise RecipeError(f"{folder} is damaged{_CURE}")
        return cls(images, meta["readable"], maps, samples)

    def batch(self, keys: list[int], detector: Detector) -> tuple[list[Tensor], Targets]:
        """Load the maps and targets of a batch of sampler keys, onto the detector's device."""
        showings = [decode(key, self.images) for key in keys]
        rows = [(s.epoch + s.copy) % self.views * self.images + s.place for s in showings]
        maps = [torch.from_numpy(level[rows]).to(detector.device).float() for level in self.maps]
        targets = collate(self.samples[row] for row in rows).targets.to(detector.device)
        return [level.contiguous(memory_format=detector.memory_format) for level in maps], targets


def _read_targets(path: Path) -> list[Sample]:
    with np.load(path) as stored:
        boxes, labels, ignore = (np.split(stored[name], stored["ends"]) for name in ("boxes", "labels", "ignore"))
    nothing = np.zeros((0, 0, 3), np.uint8)
    rows = zip(boxes, labels, ignore, strict=True)
    return [Sample(nothing, *row, place=0, size=(0, 0)) for row in rows]


class _Meta(TypedDict):
    levels: int
    readable: list[int]


def _read_meta(folder: Path) -> _Meta:
    path = folder / "meta.json"
    return typed(read_own_json(path, _CURE), _Meta, path, _CURE)


def is_cached(folder: Path) -> bool:
    """Tell whether the features there are complete."""
    return (folder / "meta.json").is_file()


def cache_features(
    recipe: Recipe, dataset: DetectionDataset, folder: Path, advance: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Compute the features of a recipe's backbone, unless they exist already.

    Raises:
        RecipeError: If the disk has no room for one view of each image.
        DataError: If no image can be read.
    """
    if is_cached(folder):
        return
    began, cache = monotonic(), ImageCache(dataset, reduction=recipe.reduction(training=True))
    faults = cache.fill()
    readable = [index for index in range(len(dataset)) if index not in faults]
    if not readable:
        raise DataError(f"{dataset.root}: none of the {len(dataset)} training images can be decoded")
    views = TrainingSet(cache, readable, recipe.input_size, recipe.augmentation, seed=0)
    detector = build_detector(recipe).eval()
    make_folder(folder)
    shapes = _shapes(detector)
    rows = _views(shapes, len(readable), folder) * len(readable)
    samples: list[Sample] = []
    with ExitStack() as files:
        levels = [files.enter_context(_written(folder / f"map-{n}.npy", rows, s)) for n, s in enumerate(shapes)]
        for start in range(0, rows, _BATCH):
            turns = [divmod(row, len(readable)) for row in range(start, min(start + _BATCH, rows))]
            found = [views[encode(Showing(view, 0, place), len(readable))] for view, place in turns]
            for level, values in zip(levels, _maps(detector, collate(found).images), strict=True):
                level.write(values.numpy().tobytes())
            samples += [sample._replace(image=sample.image[:0, :0]) for sample in found]
            advance(len(samples), rows)
    _write_targets(folder / "targets.npz", samples)
    meta = {"levels": len(shapes), "readable": readable, "seconds": monotonic() - began}
    write_json(folder / "meta.json", meta, indent=None)  # written last: it marks the cache as complete


@torch.inference_mode()
def _maps(detector: Detector, images: Tensor) -> list[Tensor]:
    maps: list[Tensor] = detector.net.backbone(detector.normalize(images))  # type: ignore[operator]
    half = [level.half() for level in maps]
    if not all(level.isfinite().all() for level in half):
        raise RecipeError("the backbone's features don't fit 16 bits: the frozen tier can't keep them")
    return half


def _shapes(detector: Detector) -> list[torch.Size]:
    """Find the shape (C, H, W) of each level."""
    side = detector.recipe.image_size
    return [level.shape[1:] for level in _maps(detector, torch.zeros(1, 3, side, side, dtype=torch.uint8))]


def _views(shapes: list[torch.Size], images: int, folder: Path) -> int:
    """Count the views that fit in half of the free disk, at most ``VIEWS``."""
    a_view = images * sum(2 * shape.numel() for shape in shapes)
    views = min(VIEWS, shutil.disk_usage(folder).free // 2 // a_view)
    if views < 1:
        raise RecipeError(f"the frozen tier needs {a_view / 2**30:.1f} GiB of disk for one view of each image")
    return views


@contextmanager
def _written(path: Path, rows: int, shape: torch.Size) -> Iterator[BinaryIO]:
    """Open a file for ``rows`` maps, to be written one after the other.

    It is not memory-mapped: on a full disk that would kill the process.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False}
    with written_aside(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (rows, *shape)})
        yield file


def _write_targets(path: Path, samples: list[Sample]) -> None:
    with written_aside(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            boxes=np.concatenate([sample.boxes for sample in samples]),
            labels=np.concatenate([sample.labels for sample in samples]),
            ignore=np.concatenate([sample.ignore for sample in samples]),
            ends=np.cumsum([len(sample.labels) for sample in samples])[:-1],
        )
