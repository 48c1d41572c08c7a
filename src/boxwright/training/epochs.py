"""Epoch after epoch of batches, from workers that do not wait for an epoch's end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from torch.utils.data import DataLoader, Sampler

from boxwright.data.sampling import EpochPlaces


class EndlessBatches(Sampler[list[int]]):
    """Yields the keys of each batch without end, starting with the current epoch of ``places``."""

    def __init__(self, places: EpochPlaces, batch_size: int) -> None:
        self.places, self.batch_size = places, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for epoch in count(self.places.epoch):
            keys = self.places.keys_of(epoch)
            for start in range(0, len(keys), self.batch_size):
                yield keys[start : start + self.batch_size]


class EpochLoader:
    """Yields an epoch's batches at each iteration while its workers already prepare the next epoch's.

    A short epoch ends before a new worker would have made a batch, so that restarting workers would mostly mean
    waiting. ``loader``: of the batches of ``keys``, without end.
    """

    def __init__(self, loader: DataLoader[Any], keys: EndlessBatches) -> None:
        self.loader = loader
        self.sampler = keys.places  # the trainer calls its set_epoch
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
        """Stop the workers."""
        self._batches = None
