"""Which images an epoch shows, in which order, to which process.

Training data is indexed by keys that tell epoch, repetition and place (see ``encode``), so that what augmentation draws
depends on the seed and the key alone, and neither on workers, nor on processes, nor on where a resumed run began.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from boxwright.data.dataset import DetectionDataset
from boxwright.parts import sampling

_COPIES = 1 << 12  # repetitions of an image in an epoch that a key can tell apart


class Showing(NamedTuple):
    """One use of an image."""

    epoch: int
    copy: int
    """0 for the first time in its epoch, 1 for the second ..."""
    place: int


def encode(showing: Showing, length: int) -> int:
    """The key of a showing among ``length`` places."""
    return (showing.epoch * _COPIES + showing.copy) * length + showing.place


def decode(key: int, length: int) -> Showing:
    """Decode a sampler key into (epoch, repeat, image index)."""
    turn, place = divmod(key, length)
    epoch, copy = divmod(turn, _COPIES)
    return Showing(epoch, copy, place)


class EpochPlaces(Sampler[int]):
    """A new order each epoch, from the seed and the epoch's number, in batches shared out among processes.

    Rank r of ``world`` gets the r-th part of each batch of ``batch_size``, so that the batches are the same whatever
    their number. An incomplete last batch is left out where there is a complete one; otherwise the order wraps around
    until the processes have equally many. ``repeats`` (length,) at least 1: how often an epoch shows each place on
    average; the fractions are drawn anew each epoch.

    Raises ValueError for a batch that can't be shared out evenly, and for repeats below 1.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        repeats: NDArray[np.float64] | None = None,
    ) -> None:
        if batch_size % world:
            raise ValueError(f"Expected a batch size that {world} processes can share but got {batch_size}")
        if repeats is not None and (len(repeats) != length or (repeats < 1).any()):
            raise ValueError(f"Expected {length} repeats of at least 1 but got {repeats}")
        self.length, self.seed, self.batch_size = length, seed, batch_size
        self.rank, self.world, self.repeats = rank, world, repeats
        self.epoch = 0
        self._resumed = (-1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer."""
        self.epoch = epoch

    def resume_at(self, epoch: int, batches: int) -> None:
        """Leave out the first ``batches`` of this epoch, which comes first."""
        self.epoch = epoch
        self._resumed = (epoch, batches)

    def __len__(self) -> int:
        total = int(self.length if self.repeats is None else np.floor(self.repeats.sum()))
        return len(self._shared_out(np.arange(total)))

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys_of(self.epoch))

    def keys_of(self, epoch: int) -> list[int]:
        """List the keys that this rank shows in an epoch."""
        keys: list[int] = self._shared_out(self._order(epoch))[self._done(epoch) :].tolist()
        return keys

    def left_of(self, epoch: int) -> int:
        """Count the keys that this rank has left in an epoch."""
        return len(self) - self._done(epoch)

    def _done(self, epoch: int) -> int:
        """Keys of this rank that were shown before the run was resumed."""
        resumed, batches = self._resumed
        return batches * (self.batch_size // self.world) if epoch == resumed else 0

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Keys of all that the epoch shows; always as many."""
        rng = np.random.default_rng((self.seed, epoch))
        if self.repeats is None:
            return encode(Showing(epoch, 0, 0), self.length) + rng.permutation(self.length)
        # Systematic sampling: a count is the place's repeats rounded up or down, and all of them add up to one total
        turn = rng.permutation(self.length)
        ends = np.floor(np.cumsum(self.repeats[turn]) + rng.random())
        counts = np.diff(np.minimum(ends, np.floor(self.repeats.sum())), prepend=0).astype(np.int64)
        places = np.repeat(turn, counts)
        copies = np.concatenate([np.arange(count) for count in counts])
        keys = (epoch * _COPIES + copies) * self.length + places
        return rng.permutation(keys)

    def _shared_out(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """This rank's part of every batch."""
        full = len(order) // self.batch_size * self.batch_size
        if full == 0:
            full = -(-len(order) // self.world) * self.world
            return np.resize(order, full)[self.rank :: self.world]
        return order[:full].reshape(-1, self.world, self.batch_size // self.world)[:, self.rank].ravel()


class ValidationPlaces(Sampler[int]):
    """Every ``world``-th place from ``rank`` on; the last ones wrap around, so that all ranks have equally many."""

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self.places = [place % length for place in range(rank, -(-length // world) * world, world)] if length else []

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)


@sampling
def repeat_factor(dataset: DetectionDataset, threshold: float = 0.001) -> NDArray[np.float64]:
    """(n,) how often an epoch should show each image: more than once where it holds a class that few images have.

    r(c) = max(1, sqrt(threshold / f(c))) with f(c) the share of images that hold class c; an image has the highest of
    its classes, and 1 without any (LVIS, arXiv:1908.03195, section 5.3). Raises ValueError for a threshold outside
    0..1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"Expected a threshold in 0..1 but got {threshold}")
    images = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    pairs = np.unique(np.stack([images, dataset.labels]), axis=1)
    share = np.bincount(pairs[1], minlength=len(dataset.classes)) / max(len(dataset), 1)
    factor = np.sqrt(np.maximum(threshold / np.maximum(share, 1e-12), 1))
    repeats = np.ones(len(dataset))
    np.maximum.at(repeats, pairs[0], factor[pairs[1]])
    return repeats
