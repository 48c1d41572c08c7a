"""The processes that augment: how they handle signals, and return batches through shared memory."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from boxwright.data.loading import Batch, Sample, collate
from boxwright.data.windows import largest_window
from boxwright.errors import RecipeError
from boxwright.models.memory import largest_input
from boxwright.recipes import Recipe
from boxwright.training.faults import MORE_SHARED
from boxwright.training.transfer import Parcel

SHARED = Path("/dev/shm")
AHEAD = 2
"""Batches that each worker prepares in advance."""
_UNKNOWN_SIDE = 2**20  # pixels, more than any window has
_SLACK = 2**20  # bytes for targets, queues and semaphores


def start_worker(worker: int) -> None:
    """Leave it to the training to handle Ctrl-C and SIGTERM; for ``worker_init_fn``.

    Both reach every process of a terminal, or of a stopped service. A second SIGTERM is the loader's own, for a worker
    that hangs.
    """

    def only_once(number: int, frame: FrameType | None) -> None:
        """Ignore the first signal."""
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, only_once)


@dataclass(frozen=True)
class CollateInWorker:
    """Applies ``collate``, and in a worker puts the batch into shared memory as a parcel; a failure is reported.

    Otherwise the queue would lose the batch, and the training would wait forever.
    """

    multiple: int
    few_counts: bool = False

    def __call__(self, samples: Iterable[Sample]) -> Batch | Parcel:
        """Collate the samples."""
        batch = collate(samples, self.multiple, few_counts=self.few_counts)
        if get_worker_info() is None:
            return batch
        parcel = Parcel.of(batch)
        for tensor in parcel.tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        return parcel


def shared_by_batches(pixels: int, workers: int, batch_size: int) -> int:
    """Compute the bytes of shared memory that batches need at a time, with this many pixels per image."""
    if not workers:
        return 0
    return (workers * AHEAD + 2) * batch_size * pixels * 3 + workers * _SLACK


def pixels_a_sample(sizes: NDArray[np.int32], recipe: Recipe, windows: bool) -> int:
    """Return the largest number of pixels handed over for one of the images of these sizes (n, 2), 0 if unknown.

    ``windows``: what an input is made of, instead of the input.
    """
    if not windows:
        return math.prod(largest_input(recipe))
    known = np.unique(np.where(sizes.all(1, keepdims=True), sizes, _UNKNOWN_SIDE), axis=0)
    return max(largest_window((height, width), recipe.input_size) for height, width in known.tolist())


def free_shared_memory() -> float:
    """Return the free bytes of shared memory; infinite if the system has no limit of its own for it."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else math.inf


def check_shared_memory(needed: int, workers: int) -> None:
    """Raise RecipeError where the system has less shared memory than the workers need."""
    free = free_shared_memory()
    if workers and free < needed:
        raise RecipeError(
            f"{workers} workers need {needed / 2**20:.0f} MB of shared memory, of which {SHARED} has "
            f"{free / 2**20:.1f} MB: {MORE_SHARED}"
        )
