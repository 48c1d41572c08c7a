"""From a data set to batches: a cache of decoded images, augmentation by seed, padding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from boxwright.data.dataset import NORMAL, DetectionDataset
from boxwright.data.images import decode_image
from boxwright.data.transforms import Augmentation
from boxwright.errors import DataError
from boxwright.types import Targets

CACHE_BYTES = 2 * 2**30
_CHUNK = 64  # images in flight while the cache is filled


class Sample(NamedTuple):
    """One network input with its targets, in numpy."""

    image: NDArray[np.uint8]
    """(S, S, 3) RGB."""
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    place: int
    """Place of the image in the data set."""
    size: tuple[int, int]
    """(H, W) of the image that the input shows."""


class Batch(NamedTuple):
    """What a step gets."""

    images: Tensor
    """(B, 3, S, S) uint8 RGB, channels last in memory."""
    targets: Targets
    indices: Tensor
    """(B,) int64 places of the images in the data set."""
    sizes: Tensor
    """(B, 2) int64 (H, W) of the images that the inputs show."""


class ImageCache:
    """Decoded images in memory, as many as ``limit`` bytes hold; the others are decoded at each use."""

    def __init__(self, dataset: DetectionDataset, limit: int = CACHE_BYTES) -> None:
        self.dataset = dataset
        self.limit = limit
        self._images: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> NDArray[np.uint8]:
        """The image (H, W, 3). Raises DataError where the file can't be decoded."""
        image = self._images.get(index)
        return decode_image(self.dataset.path(index)) if image is None else image

    def fill(self, advance: Callable[[int], None] = lambda done: None) -> dict[int, str]:
        """Decode images on all cores until the memory is full. Returns the faults by image, instead of raising."""
        faults, used = {}, 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(self.dataset), _CHUNK):
                chunk = range(start, min(start + _CHUNK, len(self.dataset)))
                for index, result in zip(chunk, pool.map(self._try, chunk), strict=True):
                    if isinstance(result, str):
                        faults[index] = result
                    elif used + result.nbytes <= self.limit:
                        self._images[index] = result
                        used += result.nbytes
                    else:
                        used = self.limit
                    advance(index + 1)
                if used >= self.limit:
                    break
        return faults

    def _try(self, index: int) -> NDArray[np.uint8] | str:
        try:
            return self.read(index)
        except DataError as error:
            return str(error)


class TrainingSet(Dataset[Sample]):
    """The readable images of a data set as network inputs.

    It is indexed by epoch x length + place, and what augmentation draws depends on ``seed``, epoch and image alone, so
    the number of workers doesn't matter. In place of an image that can't be read comes the next one that can.
    """

    def __init__(
        self,
        cache: ImageCache,
        indices: Sequence[int],
        size: int,
        augmentation: Augmentation,
        seed: int = 0,
    ) -> None:
        self.cache = cache
        self.indices = list(indices)
        self.size = size
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: int) -> Sample:
        epoch, place = divmod(key, len(self.indices))
        index, image = self._read(place)
        boxes, labels, code = self.cache.dataset.target(index)
        rng = np.random.default_rng((self.seed, epoch, index))
        shown, moved, kept = self.augmentation(image, boxes, self.size, rng)
        return Sample(shown, moved, labels[kept], code[kept] != NORMAL, index, (image.shape[0], image.shape[1]))

    def _read(self, place: int) -> tuple[int, NDArray[np.uint8]]:
        for index in self.indices[place:] + self.indices[:place]:
            try:
                return index, self.cache.read(index)
            except DataError:
                continue
        raise DataError(f"{self.cache.dataset.root}: none of its images can be decoded")


def collate(samples: Iterable[Sample]) -> Batch:
    """Stack the images and pad the targets to the most that an image of the batch has; none at all is legal."""
    samples = list(samples)
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    most = max(len(sample.labels) for sample in samples)
    boxes = np.zeros((len(samples), most, 4), np.float32)
    labels = np.full((len(samples), most), -1, np.int64)
    ignore = np.zeros((len(samples), most), np.bool_)
    for row, sample in enumerate(samples):
        count = len(sample.labels)
        boxes[row, :count], labels[row, :count], ignore[row, :count] = sample.boxes, sample.labels, sample.ignore
    targets = Targets(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(ignore))
    indices = torch.tensor([sample.place for sample in samples])
    return Batch(images, targets, indices, torch.tensor([sample.size for sample in samples]))
