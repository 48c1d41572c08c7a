"""Decoded images in memory, as many as fit, in a form that worker processes share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.data.dataset import DetectionDataset
from boxwright.data.decoded import Decoded, Reduction
from boxwright.errors import DataError

_BLOCK = 64 * 2**20  # bytes of memory taken at a time
_CHUNK = 64  # images in flight while the cache is filled
_IN_FLIGHT = 512 * 2**20  # bytes of them, unless one image has more
_UNKNOWN = 4 * 2**30  # taken to be free where the system doesn't tell


class Packed(NamedTuple):
    """The location of decoded images in shared memory."""

    paths: list[Path]
    where: NDArray[np.int64]
    shapes: NDArray[np.int32]


class ImageCache:
    """Decoded images in memory, as many as ``limit`` bytes hold; others are decoded at each use.

    Args:
        limit: Bytes; None: half of the free memory.
        shared: Keep them in shared memory, of which worker processes get a handle and no copy; never more than the
            system has of it.
        files: A folder in shared memory where they are files, so that any process of the machine can map them.
        reduction: How small they are decoded; None: in full.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        limit: int | None = None,
        *,
        shared: bool = False,
        files: Path | None = None,
        reduction: Reduction | None = None,
    ) -> None:
        self.dataset = dataset
        self.reduction = reduction
        self.limit = free_memory(shared) // 2 if limit is None else limit
        self.shared, self.files = shared, files
        self._blocks: list[Tensor] = []
        self._paths: list[Path] = []  # of the blocks that are files
        self._used = 0  # bytes of the last block
        self._where = np.full((len(dataset), 2), -1, np.int64)  # block, first byte
        self._shapes = np.zeros((len(dataset), 7), np.int32)  # h, w, and the fields of Decoded after the pixels

    def __len__(self) -> int:
        return int((self._where[:, 0] >= 0).sum())

    def read(self, index: int) -> Decoded:
        """Return the image; raises DataError if the file cannot be decoded."""
        block, start = self._where[index].tolist()
        if block < 0:
            return self._decode(index)
        h, w, height, width, factor, above, left = self._shapes[index].tolist()
        pixels: NDArray[np.uint8] = self._blocks[block][start : start + h * w * 3].numpy()
        return Decoded(pixels.reshape(h, w, 3), (height, width), factor, (above, left))

    def _decode(self, index: int) -> Decoded:
        return self.dataset.decode_reduced(index, self.reduction)

    def fill(
        self,
        advance: Callable[[int], None] = lambda done: None,
        decode: Callable[[int], Decoded] | None = None,
        rows: range | None = None,
    ) -> dict[int, str]:
        """Decode images on all cores until the memory is full; return the faults by image instead of raising.

        ``decode``: replaces the cache's own, for callers that want to see each image. ``rows``: which images; None:
        all.
        """
        faults, full = {}, False
        attempt = partial(_try, decode or self._decode)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for chunk in self._chunks(range(len(self.dataset)) if rows is None else rows):
                copies = []
                for index, result in zip(chunk, pool.map(attempt, chunk), strict=True):
                    if isinstance(result, str):
                        faults[index] = result
                    elif not full:
                        place = self._place(index, result)
                        full = place is None
                        copies += [] if place is None else [pool.submit(place.copy_, torch.from_numpy(result.pixels))]
                    advance(index + 1)
                for copy in copies:  # memory that is new takes longer to be written than an image to be decoded
                    copy.result()
                if full:
                    break
        return faults

    def pack(self) -> Packed:
        """Describe where the decoded images are, for other processes of the machine."""
        return Packed(self._paths, self._where, self._shapes)

    def take_over(self, other: Packed) -> None:
        """Map the images that another process has decoded, without copying."""
        held = other.where[:, 0] >= 0
        self._where[held] = other.where[held] + (len(self._blocks), 0)
        self._shapes[held] = other.shapes[held]
        self._blocks += [_mapped(path, path.stat().st_size) for path in other.paths]
        self._used = len(self._blocks[-1]) if self._blocks else 0  # nothing is added to another's block

    def _chunks(self, rows: range) -> Iterator[range]:
        """Split the images into parts that fit in memory next to the cache: a fixed number, fewer if they are large."""
        start, size = 0, 0
        for place, pixels in enumerate(self.dataset.sizes[rows].astype(np.int64).prod(1).tolist()):
            if place > start and (place - start == _CHUNK or size + 3 * pixels > _IN_FLIGHT):
                yield rows[start:place]
                start, size = place, 0
            size += 3 * pixels
        yield rows[start:]

    def _place(self, index: int, image: Decoded) -> Tensor | None:
        """Reserve the place of the image (h, w, 3); None if there is no room."""
        pixels = image.pixels
        if not self._blocks or self._used + pixels.nbytes > len(self._blocks[-1]):
            left = self.limit - sum(map(len, self._blocks))
            size = max(min(_BLOCK, left), pixels.nbytes)
            if size > left:
                return None
            self._blocks.append(self._block(size))
            self._used = 0
        place = self._blocks[-1][self._used : self._used + pixels.nbytes].view(pixels.shape)
        self._where[index] = (len(self._blocks) - 1, self._used)
        self._shapes[index] = (*pixels.shape[:2], *image.size, image.factor, *image.before)
        self._used += pixels.nbytes
        return place

    def _block(self, size: int) -> Tensor:
        if self.files is not None:
            self._paths.append(self.files / f"boxwright-{os.getpid()}-{id(self)}-{len(self._paths)}")
            return _mapped(self._paths[-1], size)
        block = torch.empty(size, dtype=torch.uint8)
        return block.share_memory_() if self.shared else block  # type: ignore[no-untyped-call]


def _mapped(path: Path, size: int) -> Tensor:
    return torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)


def _try(decode: Callable[[int], Decoded], index: int) -> Decoded | str:
    try:
        return decode(index)
    except DataError as error:
        return str(error)


def free_memory(shared: bool = False) -> int:
    """Return the bytes that this process may still use, of the machine and its control group.

    ``shared``: of memory shared between processes.
    """
    limits = [_available(Path("/proc/meminfo")), _left_of_group(Path("/sys/fs/cgroup"))]
    if shared and Path("/dev/shm").is_dir():
        limits.append(shutil.disk_usage("/dev/shm").free)
    known = [limit for limit in limits if limit is not None]
    return max(min(known, default=_UNKNOWN), 0)


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _left_of_group(folder: Path) -> int | None:
    try:
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
