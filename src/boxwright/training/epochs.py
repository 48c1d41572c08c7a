"""Epoch after epoch of batches, from workers that don't wait for an epoch's end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from torch.utils.data import DataLoader, Sampler

from boxwright.data.sampling import EpochPlaces


class EndlessBatches(Sampler[list[int]]):
    """The keys of each batch, from the epoch on at which ``places`` stands, without end."""

    def __init__(self, places: EpochPlaces, batch_size: int) -> None:
        self.places, self.batch_size = places, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for epoch in count(self.places.epoch):
            keys = self.places.keys_of(epoch)
            for start in range(0, len(keys), self.batch_size):
                yield keys[start : start + self.batch_size]


class EpochLoader:
    """Gives an epoch's batches at each iteration; meanwhile its workers prepare those of the next.

    An epoch of few images is over before a worker has made a batch: one that had to begin anew would mostly be waited
    for. ``loader``: of the batches of ``keys``, without end.
    """

    def __init__(self, loader: DataLoader[Any], keys: EndlessBatches) -> None:
        self.loader = loader
        self.sampler = keys.places  # whose set_epoch the trainer calls
        self._batch_size = keys.batch_size
        self._batches: Iterator[Any] | None = None
        self._next = -1

    def __len__(self) -> int:
        return -(-len(self.sampler) // self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        epoch = self.sampler.epoch
        if self._batches is None or self._next != epoch:
            self._batches = iter(self.loader)
        left = -(-self.sampler.left_of(epoch) // self._batch_size)
        self._next = -1
        for number in range(left):
            batch = next(self._batches)
            if number + 1 == left:
                self._next = epoch + 1
            yield batch

    def close(self) -> None:
        """End the workers."""
        self._batches = None
