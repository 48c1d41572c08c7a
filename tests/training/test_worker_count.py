"""How many processes augment where nobody says, and that batches reach a device without waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from same_end import assert_same_end

import boxwright as bw
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.loading import Batch, Sample, collate
from boxwright.demo_data import make_digits
from boxwright.environment import usable_cores
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.training import RunOptions, worker_count, workers
from boxwright.training.batches import Batches
from boxwright.training.distributed import Ranks
from boxwright.training.transfer import Parcel, copy_to
from boxwright.training.worker_count import choose_workers, spare_cores, worth_starting

RECIPE = get_recipe("lite320", image_size=64, batch_size=2, epochs=10)
AUTO = RunOptions()
ALONE = Ranks()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    return read_dataset(make_digits(tmp_path_factory.mktemp("digits"), images={"train": 12}, size=64), "train")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 cores with a GPU, on which a training augments for 1000 seconds."""
    monkeypatch.setattr(RunOptions, "accelerator", lambda _: "cuda")
    monkeypatch.setattr(worker_count, "usable_cores", lambda: 8)
    monkeypatch.setattr(worker_count, "_seconds_of_augmenting", lambda *_: 1000.0)
    monkeypatch.setattr(worker_count, "free_shared_memory", lambda: 1e12)


def choose(dataset: DetectionDataset, ranks: Ranks = ALONE) -> int:
    return choose_workers(dataset, RECIPE, AUTO, ranks)


def test_a_gpu_leaves_all_cores_but_one(dataset: DetectionDataset, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(dataset) == 6  # as many as an epoch has batches
    assert choose(dataset.subset(np.tile(np.arange(12), 5))) == 7
    assert choose(dataset, Ranks(1, 2, 2)) == 3  # the other four cores are the other rank's
    assert choose(dataset, Ranks(1, 8, 8)) == 0
    monkeypatch.setattr(worker_count, "usable_cores", lambda: 1)
    assert choose(dataset) == 0


def test_a_set_that_is_augmented_at_once_gets_no_worker(
    dataset: DetectionDataset, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_count.multiprocessing, "get_start_method", lambda: "fork")
    for seconds, count in ((0.5, 0), (3.0, 3), (30.0, 6)):
        monkeypatch.setattr(worker_count, "_seconds_of_augmenting", lambda *_, s=seconds: s)
        assert choose(dataset) == count
    assert worth_starting(30, "spawn") == worth_starting(59, "forkserver") == 0
    assert worth_starting(61, "spawn") == 1


def test_little_shared_memory_leaves_fewer(
    dataset: DetectionDataset, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = [workers.shared_by_batches(64 * 64, count, 2) for count in range(7)]
    for free, count in ((2 * needed[6], 6), (2 * needed[6] - 2, 5), (2 * needed[1], 1), (2 * needed[1] - 2, 0), (0, 0)):
        monkeypatch.setattr(worker_count, "free_shared_memory", lambda free=free: free)
        assert choose(dataset) == count


def test_a_cpu_keeps_its_cores_for_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [spare_cores("cpu", cores) for cores in (1, 2, 4, 8, 9, 16)] == [0, 0, 0, 0, 1, 8]
    assert [spare_cores("cuda", cores) for cores in (0, 1, 2, 16)] == [0, 0, 1, 15]


def test_what_augmenting_costs_is_measured(dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.8] * 3)
    monkeypatch.setattr(worker_count, "process_time", lambda: next(ticks))
    seconds = worker_count._seconds_of_augmenting  # 8 images in 0.8 s: 0.1 s each
    assert seconds(dataset, RECIPE, AUTO, False) == pytest.approx(0.1 * 12 * 10)
    assert seconds(dataset, RECIPE, replace(AUTO, steps=7), False) == pytest.approx(0.1 * 7 * 2)
    assert seconds(dataset, RECIPE, replace(AUTO, minutes=3.0), False) == 180


def test_cores_are_those_of_affinity_and_control_group(tmp_path: Path) -> None:
    have = usable_cores(tmp_path / "none")
    for text, cores in (("max 100000", have), ("100000 100000", 1), ("50000 100000", 1), (f"{10**9} 100000", have)):
        (tmp_path / "cpu.max").write_text(text)
        assert usable_cores(tmp_path / "cpu.max") == cores


def test_auto_is_resolved_where_the_batches_are_made(
    dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def batches(count: int, options: RunOptions) -> Batches:
        monkeypatch.setattr("boxwright.training.batches.choose_workers", lambda *_, **__: count)
        return Batches(dataset, dataset.subset([0, 1, 2]), RECIPE, options, Ranks(), Console())

    two = batches(2, AUTO)
    assert (two.workers, two.training.loader.num_workers, two.validation.num_workers) == (2, 2, 1)  # type: ignore[union-attr]
    assert "workers=auto is 2 here, of" in capsys.readouterr().out
    none = batches(0, AUTO)
    assert none.workers == none.training.loader.num_workers == 0
    assert not none.training.loader.pin_memory
    assert "worker" not in capsys.readouterr().out
    assert batches(2, replace(AUTO, workers=0)).workers == 0
    monkeypatch.setattr(RunOptions, "accelerator", lambda _: "cuda")
    pinned = batches(0, AUTO)
    assert pinned.training.loader.pin_memory
    assert pinned.validation.pin_memory  # type: ignore[union-attr]
    assert "workers=auto is 0 here" in capsys.readouterr().out


@pytest.mark.slow
def test_a_training_ends_the_same_whatever_is_chosen(
    tmp_path: Path, dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = {"image_size": 64, "width": 16, "batch_size": 4, "epochs": 2, "freeze": 4, "pretrained": True}
    runs = []
    for count in (0, 2):
        monkeypatch.setattr("boxwright.training.batches.choose_workers", lambda *_, count=count, **__: count)
        run = bw.train(
            dataset,
            validation=dataset.subset([0, 5]),
            out=tmp_path / f"{count}",
            console=Console(quiet=True),
            **settings,
        )
        assert run.record["training"]["workers"] == count
        assert run.record["origin"]["options"]["workers"] == "auto"
        runs.append(run)
    assert_same_end(*runs)


@pytest.mark.parametrize("value", ["many", "4", -1])
def test_other_words_are_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match="workers to be auto or at least 0"):
        RunOptions(workers=value)


def batch() -> Batch:
    small, large = (
        Sample(np.zeros((side, 8, 3), np.uint8), np.ones((1, 4), np.float32), np.zeros(1, np.int64),
               np.zeros(1, bool), side, (side, 8))
        for side in (4, 8)
    )  # fmt: skip
    return collate([small, large])


def test_a_batch_travels_whole_and_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []
    to = torch.Tensor.to

    def noting(self: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        waited.append(not options.get("non_blocking"))
        return to(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "to", noting)
    moved = copy_to(batch(), torch.device("meta"))
    assert len(moved.tensors) == len(waited) == 7
    assert not any(waited)
    assert all(tensor.is_meta for tensor in moved.tensors)
    without = copy_to(batch()._replace(valid_size=None), torch.device("meta"))
    assert without.valid_size is None
    assert len(without.tensors) == 6


def test_a_parcel_holds_the_batch() -> None:
    for packed in (batch(), batch()._replace(valid_size=None)):
        parcel = Parcel.of(packed)
        opened = parcel.open()
        assert len(parcel.tensors) == 2
        assert len(opened.tensors) == len(packed.tensors)
        for there, here in zip(opened.tensors, packed.tensors, strict=True):
            assert there.dtype == here.dtype
            assert torch.equal(there, here)
    moved = copy_to(Parcel.of(batch()), torch.device("meta"))
    assert [tensor.shape for tensor in moved.tensors] == [tensor.shape for tensor in batch().tensors]


def test_workers_hand_over_two_tensors_a_batch(dataset: DetectionDataset) -> None:
    options = replace(AUTO, workers=1)
    alone, worker = (
        Batches(dataset, None, RECIPE, replace(options, workers=count), Ranks(), Console(quiet=True)).training
        for count in (0, 1)
    )
    for here, parcel in zip(alone, worker, strict=True):
        assert isinstance(parcel, Parcel)
        for a, b in zip(here.tensors, parcel.open().tensors, strict=True):
            assert torch.equal(a, b)
