"""The processes that augment: what they do with signals, and how their batches come back through shared memory."""

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
"""Batches that each worker prepares before they are asked for."""
_UNKNOWN_SIDE = 2**20  # pixels, more than any window has
_SLACK = 2**20  # bytes for targets, queues and semaphores


def start_worker(worker: int) -> None:
    """For ``worker_init_fn``: leave it to the training to answer Ctrl-C and SIGTERM.

    Both reach every process of a terminal, or of a service that is stopped. A second SIGTERM is the loader's own, for a
    worker that hangs.
    """

    def only_once(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, only_once)


@dataclass(frozen=True)
class CollateInWorker:
    """``collate``, and in a worker the batch goes into shared memory as a parcel: where that fails, it is told.

    The queue that would do it otherwise loses the batch, and the training waits for ever.
    """

    multiple: int
    few_counts: bool = False

    def __call__(self, samples: Iterable[Sample]) -> Batch | Parcel:
        batch = collate(samples, self.multiple, few_counts=self.few_counts)
        if get_worker_info() is None:
            return batch
        parcel = Parcel.of(batch)
        for tensor in parcel.tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        return parcel


def shared_by_batches(pixels: int, workers: int, batch_size: int) -> int:
    """Bytes of shared memory that batches of images of so many pixels need at a time."""
    if not workers:
        return 0
    return (workers * AHEAD + 2) * batch_size * pixels * 3 + workers * _SLACK


def pixels_a_sample(sizes: NDArray[np.int32], recipe: Recipe, windows: bool) -> int:
    """The most pixels that are handed over for one of the images of these sizes (n, 2), of which 0 is not known.

    ``windows``: what an input is to be made of, instead of the input.
    """
    if not windows:
        return math.prod(largest_input(recipe))
    known = np.unique(np.where(sizes.all(1, keepdims=True), sizes, _UNKNOWN_SIDE), axis=0)
    return max(largest_window((height, width), recipe.input_size) for height, width in known.tolist())


def free_shared_memory() -> float:
    """Bytes that are free of what processes share; infinite where the system doesn't set it apart."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else math.inf


def check_shared_memory(needed: int, workers: int) -> None:
    """Raise RecipeError where the system has less shared memory than the workers need."""
    free = free_shared_memory()
    if workers and free < needed:
        raise RecipeError(
            f"{workers} workers need {needed / 2**20:.0f} MB of shared memory, of which {SHARED} has "
            f"{free / 2**20:.1f} MB: {MORE_SHARED}"
        )
