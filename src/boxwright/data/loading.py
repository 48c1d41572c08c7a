"""From a data set to batches: seeded augmentation and padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from boxwright.data.cache import ImageCache
from boxwright.data.decoded import Decoded
from boxwright.data.sampling import decode
from boxwright.data.transforms import FILL, Augmentation, InputSize, apply_own, show
from boxwright.data.windows import Window, Windows, cut_window, resample_windows, stack_windows
from boxwright.errors import DataError
from boxwright.types import Targets


class Sample(NamedTuple):
    """One network input with its targets, in numpy."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, or the source pixels (h, w, 3) that it is yet to be made of."""
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    place: int
    """Place of the image in the data set."""
    size: tuple[int, int]
    """(H, W) of the image that the input shows."""
    window: Window | None = None
    """Rule that makes the input; None: ``image`` is the input."""


class Batch(NamedTuple):
    """Input of a training step."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB, channels last in memory, or the source pixels that they are yet to be made of."""
    targets: Targets
    indices: Tensor
    """(B,) int64 places of the images in the data set."""
    sizes: Tensor
    """(B, 2) int64 (H, W) of the images that the inputs show."""
    valid_size: Tensor | None = None
    """(B, 2) int64 rows and columns of the inputs that show something, where some are padded on the right and below."""
    windows: Windows | None = None
    """Rules that make the inputs; None: ``images`` are the inputs."""

    def resampled(self) -> Batch:
        """Return the batch with the inputs as its images, resampled on their device."""
        if self.windows is None:
            return self
        return self._replace(images=resample_windows(self.images, self.windows, self.valid_size), windows=None)

    @property
    def tensors(self) -> list[Tensor]:
        """Return everything that the batch holds, including the targets."""
        return [field for field in (*self, *self.targets, *(self.windows or ())) if isinstance(field, Tensor)]

    def each(self, change: Callable[[Any], Any]) -> Batch:
        """Apply a change to everything that the batch holds, including targets and windows."""

        def changed(field: Any) -> Any:
            """Change one field."""
            return type(field)(*map(change, field)) if isinstance(field, Targets | Windows) else change(field)

        return Batch(*(None if field is None else changed(field) for field in self))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device; from pinned memory without waiting for the copy."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))


class TrainingSet(Dataset[Sample]):
    """The readable images of a data set as network inputs.

    It is indexed by the keys of ``data.sampling``, and augmentation depends only on ``seed``, epoch, repetition and
    image, so the number of workers makes no difference. An unreadable image is replaced by the next readable one.
    ``windows``: only cut out the pixels, and resample once the batch is on its device.
    """

    def __init__(
        self,
        cache: ImageCache,
        indices: Sequence[int],
        size: InputSize,
        augmentation: Augmentation,
        seed: int = 0,
        *,
        windows: bool = False,
    ) -> None:
        self.cache = cache
        self.indices = list(indices)
        self.size = size
        self.augmentation = augmentation
        self.seed = seed
        self.windows = windows

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: int) -> Sample:
        showing = decode(key, len(self.indices))
        index, image = self._read(showing.place)
        boxes, labels, ignore = self.cache.dataset.supervised(index)
        rng = np.random.default_rng((self.seed, showing.epoch, showing.copy, index))
        own = self.augmentation.own
        if own is not None:
            try:
                pixels, boxes, labels, ignore = apply_own(own, image.pixels, boxes, labels, ignore, rng)
            except Exception as error:
                name = self.cache.dataset.name(index)
                raise DataError(f"{name}: the augmentation failed: {type(error).__name__}: {error}") from error
            image = Decoded.whole(pixels)
        drawn, moved, kept = self.augmentation.draw(image.size, boxes, self.size, rng)
        pixels, window = cut_window(image, drawn) if self.windows else (show(image, drawn), None)
        return Sample(pixels, moved, labels[kept], ignore[kept], index, image.size, window)

    def _read(self, place: int) -> tuple[int, Decoded]:
        for step in range(len(self.indices)):
            index = self.indices[(place + step) % len(self.indices)]
            try:
                return index, self.cache.read(index)
            except DataError:
                continue
        raise DataError(f"{self.cache.dataset.root}: none of its images can be decoded")


def collate(samples: Iterable[Sample], multiple: int = 1, *, few_counts: bool = False) -> Batch:
    """Stack the images and pad the targets to the largest number in the batch, which may be 0.

    Smaller images are padded on the right and below to the largest, whose sides are rounded up to a ``multiple``.
    ``few_counts``: round the number of targets up to a power of two from 8 on, to limit the number of shapes.
    """
    samples = list(samples)
    windows = [sample.window for sample in samples if sample.window is not None]
    images, valid_size = _stack([sample.image for sample in samples], 1 if windows else multiple)
    if windows:
        size, valid_size = _padded([(len(window.rows), len(window.columns)) for window in windows], multiple)
    most = max(len(sample.labels) for sample in samples)
    count = max(8, 1 << (most - 1).bit_length()) if few_counts else most
    targets = pad_targets([(sample.boxes, sample.labels, sample.ignore) for sample in samples], count)
    return Batch(
        images,
        targets,
        torch.tensor([sample.place for sample in samples]),
        torch.tensor([sample.size for sample in samples]),
        valid_size,
        stack_windows(windows, [sample.image.shape for sample in samples], size) if windows else None,
    )


def _padded(sides: list[tuple[int, ...]], multiple: int) -> tuple[tuple[int, int], Tensor | None]:
    """Compute the size (H, W) that holds images of these sides, and the rows and columns (B, 2) that are image.

    None unless some image is smaller.
    """
    valid_size = np.array(sides)
    rows, columns = (-(-valid_size.max(0) // multiple) * multiple).tolist()
    return (rows, columns), None if (valid_size == (rows, columns)).all() else torch.from_numpy(valid_size)


def _stack(images: list[NDArray[np.uint8]], multiple: int) -> tuple[Tensor, Tensor | None]:
    """(B, 3, H, W), and the rows and columns (B, 2) that show something unless all do."""
    size, valid_size = _padded([image.shape[:2] for image in images], multiple)
    if valid_size is None:
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), None
    stacked = np.full((len(images), *size, 3), FILL, np.uint8)
    for row, image in enumerate(images):
        stacked[row, : image.shape[0], : image.shape[1]] = image
    return torch.from_numpy(stacked).permute(0, 3, 1, 2), valid_size


def pad_targets(
    images: Sequence[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]], count: int | None = None
) -> Targets:
    """Pad boxes (g, 4), labels (g,) and ignore (g,) of each image to a batch of ``count`` targets each.

    None: as many as the fullest image has.
    """
    count = max(len(labels) for _, labels, _ in images) if count is None else count
    boxes = np.zeros((len(images), count, 4), np.float32)
    labels = np.full((len(images), count), -1, np.int64)
    ignore = np.zeros((len(images), count), np.bool_)
    for row, target in enumerate(images):
        own = len(target[1])
        boxes[row, :own], labels[row, :own], ignore[row, :own] = target
    return Targets(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(ignore))
