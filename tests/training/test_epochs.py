"""Epochs of batches from workers that go on between them."""

from __future__ import annotations

import os
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from boxwright.data.sampling import EpochPlaces
from boxwright.training.epochs import EndlessBatches, EpochLoader


class Keys(Dataset[tuple[int, int]]):
    """Each key, and the process that was asked for it."""

    def __getitem__(self, key: int) -> tuple[int, int]:
        return key, os.getpid()


def loader_of(places: EpochPlaces, batch_size: int, workers: int = 0) -> EpochLoader:
    keys = EndlessBatches(places, batch_size)
    return EpochLoader(DataLoader(Keys(), batch_sampler=keys, num_workers=workers), keys)


def epoch_of(loader: EpochLoader, epoch: int) -> tuple[list[list[int]], set[int]]:
    """An epoch's batches of keys, and the processes that made them."""
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    return [keys.tolist() for keys, _ in batches], set(torch.cat([made_by for _, made_by in batches]).tolist())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("length", "batch_size"), [(10, 4), (8, 4), (3, 4), (1, 1)])
def test_gives_what_the_places_say(length: int, batch_size: int, workers: int) -> None:
    plain = EpochPlaces(length, 5, batch_size=batch_size)
    loader = loader_of(EpochPlaces(length, 5, batch_size=batch_size), batch_size, workers)
    processes = set()
    for epoch in range(4):
        keys = plain.keys_of(epoch)
        batches, made_by = epoch_of(loader, epoch)
        assert batches == [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
        assert len(batches) == len(loader)
        processes |= made_by
    assert len(processes) <= max(workers, 1)  # none began anew
    assert (os.getpid() in processes) == (workers == 0)
    loader.close()


def test_goes_on_where_a_run_was_stopped() -> None:
    places = EpochPlaces(10, 5, batch_size=2)
    places.resume_at(3, 2)
    loader, whole = loader_of(places, 2), loader_of(EpochPlaces(10, 5, batch_size=2), 2)
    assert epoch_of(loader, 3)[0] == epoch_of(whole, 3)[0][2:]
    assert epoch_of(loader, 4)[0] == epoch_of(whole, 4)[0]


def test_an_epoch_that_was_left_or_comes_out_of_order_begins_at_its_start() -> None:
    loader, whole = loader_of(EpochPlaces(10, 5, batch_size=2), 2), loader_of(EpochPlaces(10, 5, batch_size=2), 2)
    loader.sampler.set_epoch(1)
    assert len(list(islice(loader, 2))) == 2
    for epoch in (1, 2, 2, 7, 0):
        assert epoch_of(loader, epoch)[0] == epoch_of(whole, epoch)[0]
