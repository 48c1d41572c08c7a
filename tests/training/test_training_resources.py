"""Memory that runs out and workers that die: one line within seconds, with what to type."""

import os
import re
import signal
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import boxwright as bw
from boxwright.data.loading import TrainingSet
from boxwright.demo_data import make_digits
from boxwright.errors import BoxwrightError, DataError, RecipeError, WriteError
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.training import workers
from boxwright.training.faults import faults_explained
from boxwright.training.module import TrainingModule
from boxwright.training.workers import check_shared_memory, shared_by_batches, start_worker

RECIPE = get_recipe("lite320", batch_size=6, accumulate=2)
FROM_WORKER = "Caught {0} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n{1}"
PIECES = (
    "--set batch_size=3 --set accumulate=4 makes the same steps, --set batch_size=auto takes what fits, a smaller "
    "image_size or --set precision=bf16 needs less"
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 2}, size=64)


def explain(error: BaseException, run: Path = Path("nowhere")) -> str:
    with pytest.raises(BoxwrightError) as caught, faults_explained(Run(run), RECIPE, 2):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), f"out of memory: a batch of 6 images of 320 x 320 pixels was too large: {PIECES}"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), PIECES),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
            f"out of memory of the GPU: .*{PIECES}",
        ),
        (RuntimeError(FROM_WORKER.format("MemoryError", "MemoryError: Unable to allocate 9 GiB")), PIECES),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "workers died, .* --workers"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible"), "--shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Segmentation fault. "), "by signal Segmentation"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "workers died, .* --workers"),
        (
            RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space"),
            "--workers 0 .*--shm-size",
        ),
        (RuntimeError("Too many open files. Communication with the workers"), "ulimit -n"),
    ],
)
def test_one_line_with_what_to_type(error: Exception, text: str) -> None:
    line = explain(error)
    assert re.search(text, line)
    assert "\n" not in line


def test_an_error_of_ours_in_a_worker_is_what_it_was() -> None:
    error = DataError(FROM_WORKER.format("DataError", "boxwright.errors.DataError: x.jpg: out of memory, no image"))
    assert explain(error) == "x.jpg: out of memory, no image"


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), WriteError("disk full"), KeyError("x"), SystemExit(3)]
)
def test_what_is_not_known_here_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, faults_explained(Run(Path("nowhere")), RECIPE, 2):
        raise error
    assert caught.value is error


def test_the_way_on_is_named_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    assert "--resume" not in explain(MemoryError(), tmp_path)
    (tmp_path / "last.ckpt").touch()
    assert explain(MemoryError(), tmp_path).endswith(f"; --resume {tmp_path} goes on from the last checkpoint")


def test_too_little_shared_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SHARED", tmp_path)
    usage = namedtuple("usage", "free")
    needed = shared_by_batches(320 * 320, 2, 6)
    assert needed == 6 * 6 * 320 * 320 * 3 + 2 * 2**20
    assert shared_by_batches(320 * 320, 0, 6) == 0
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: usage(64 * 1024))
    with pytest.raises(RecipeError, match=r"2 workers need 13 MB .* has 0.1 MB: --workers 0 .*--shm-size"):
        check_shared_memory(needed, 2)
    check_shared_memory(0, 0)
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: usage(64 * 2**20))
    check_shared_memory(needed, 2)
    monkeypatch.setattr(workers, "SHARED", tmp_path / "none")
    check_shared_memory(10**12, 2)


def test_a_worker_leaves_signals_to_the_training_but_for_the_second_sigterm() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        start_worker(0)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(digits: Path, out: Path, **options: Any) -> None:
    settings = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 1, "freeze": 4}
    bw.train(digits, out=out, val_split="none", console=Console(quiet=True), **{**settings, **options})


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers don't inherit what a test changes")
@pytest.mark.parametrize("end", ["killed", "exited", "no shared memory", "no image"])
def test_a_worker_that_dies_ends_the_training(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def die(self: TrainingSet, key: int) -> None:
        if end == "no image":
            raise DataError("x.jpg: gone")
        if end == "exited":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)

    def full(self: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_0>: No space left on device (28)")

    if end == "no shared memory":
        monkeypatch.setattr("boxwright.training.batches.ImageCache._place", lambda *_: None)
        monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    else:
        monkeypatch.setattr(TrainingSet, "__getitem__", die)
    text = {"no shared memory": "--shm-size", "no image": r"^x.jpg: gone$"}.get(end, "one of the 2 workers died")
    began = time.monotonic()
    with pytest.raises(BoxwrightError, match=text) as caught:
        train(digits, tmp_path / "run", workers=2)
    assert time.monotonic() - began < 60
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_gpu_without_memory(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(TrainingModule, "training_step", step)
    with pytest.raises(BoxwrightError, match=r"of the GPU: a batch of 4 images of 64 x 64 .* --set batch_size=2"):
        train(digits, tmp_path / "run")


@pytest.mark.parametrize("options", [{"batch_size": 10**9}, {"image_size": 3_200_000}])
def test_absurd_sizes_leave_nothing_behind(digits: Path, tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="of memory, of which"):
        train(digits, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
