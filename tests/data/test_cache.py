"""Decoded images in memory: what fits, what is unreadable, and what workers get of it."""

import io
import shutil
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from boxwright.data import cache as module
from boxwright.data import decode_image, read_dataset
from boxwright.data.cache import ImageCache, free_memory
from boxwright.data.decoded import Decoded
from boxwright.data.loading import TrainingSet
from boxwright.data.transforms import Augmentation, InputSize
from boxwright.demo_data import make_digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 6}, size=64)


def test_cache_keeps_what_fits_and_names_what_is_unreadable(digits: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(digits, tmp_path / "copy")
    broken = sorted((folder / "images" / "train").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:200])
    dataset = read_dataset(folder, "train")
    cache = ImageCache(dataset, limit=2 * 64 * 64 * 3)
    done: list[int] = []
    faults = cache.fill(done.append)
    assert list(faults) == [2]
    assert broken.name in faults[2]
    assert len(cache) == 2
    assert done[-1] == 6
    assert cache.read(5).pixels.shape == (64, 64, 3)  # not kept, decoded again
    # A fault that wasn't met before the training does not end it
    late = TrainingSet(ImageCache(dataset), range(6), InputSize(32), Augmentation("none", "none"))
    assert [late[place].place for place in range(6)] == [0, 1, 3, 3, 4, 5]


def test_no_more_is_decoded_than_fits(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxwright.data.cache._CHUNK", 2)
    done: list[int] = []
    ImageCache(read_dataset(digits, "train"), limit=64 * 64 * 3).fill(done.append)
    assert done == [1, 2]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("block", [1, 30_000, 64 * 2**20])
def test_what_is_read_is_what_was_decoded(
    digits: Path, monkeypatch: pytest.MonkeyPatch, block: int, shared: bool
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    dataset = read_dataset(digits, "train")
    cache = ImageCache(dataset, limit=10**6, shared=shared)
    assert cache.fill() == {}
    assert len(cache) == 6
    for index in range(6):
        np.testing.assert_array_equal(cache.read(index).pixels, decode_image(dataset.path(index)))


def test_workers_get_a_handle_and_no_copy(digits: Path) -> None:
    cache = ImageCache(read_dataset(digits, "train"), shared=True)
    sizes = []
    for _ in range(2):
        file = io.BytesIO()
        ForkingPickler(file).dump(cache)
        sizes.append(len(file.getvalue()))
        cache.fill()
    assert sizes[1] - sizes[0] < 1000 < 6 * 64 * 64 * 3


def test_free_memory_is_the_least_that_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    7 kB\n")
    assert module._available(tmp_path / "meminfo") == 7 * 1024
    assert module._available(tmp_path / "nothing") is None
    assert module._left_of_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100\n")
    assert module._left_of_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("500\n")
    assert module._left_of_group(tmp_path) == 400
    assert 0 <= free_memory(shared=True) <= free_memory() + 2**30
    monkeypatch.setattr(module, "_available", lambda _: None)
    monkeypatch.setattr(module, "_left_of_group", lambda _: None)
    assert free_memory() == 4 * 2**30


def test_few_large_images_are_in_flight(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ImageCache(read_dataset(digits, "train"))
    assert list(cache._chunks(range(6))) == [range(6)]
    monkeypatch.setattr(module, "_IN_FLIGHT", 2 * 64 * 64 * 3)
    assert list(cache._chunks(range(6))) == [range(2), range(2, 4), range(4, 6)]
    monkeypatch.setattr(module, "_IN_FLIGHT", 1)
    assert list(cache._chunks(range(6))) == [range(i, i + 1) for i in range(6)]
    assert cache.fill() == {}
    assert len(cache) == 6


def test_processes_of_a_machine_decode_a_part_each(digits: Path, tmp_path: Path) -> None:
    dataset = read_dataset(digits, "train")
    caches = [ImageCache(dataset, files=tmp_path) for _ in range(3)]
    decoded: list[int] = []

    def decode(index: int) -> Decoded:
        decoded.append(index)
        return dataset.decode_reduced(index, None)

    for rank, cache in enumerate(caches):
        assert not cache.fill(decode=decode, rows=range(rank, len(dataset), 3))
    assert sorted(decoded) == list(range(len(dataset)))
    packed = [cache.pack() for cache in caches]
    packed = ForkingPickler.loads(ForkingPickler.dumps(packed))  # as it goes to another process
    for rank, cache in enumerate(caches):
        for other in packed[:rank] + packed[rank + 1 :]:
            cache.take_over(other)
    for path in tmp_path.iterdir():
        path.unlink()  # what is mapped stays
    for cache in caches:
        assert len(cache) == len(dataset)
        for index in range(len(dataset)):
            assert np.array_equal(cache.read(index).pixels, decode_image(dataset.path(index)))
