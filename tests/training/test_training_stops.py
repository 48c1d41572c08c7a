"""Ctrl-C and SIGTERM while a training runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback
from rich.console import Console

import boxwright as bw
from boxwright._util.stopping import Terminated
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.runs import Run
from boxwright.training.checkpoints import LastCheckpoint
from boxwright.training.stopping import CtrlC, Interrupted

SETTINGS: dict[str, Any] = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 2, "freeze": 4}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 13, "val": 5}, size=64)


@pytest.fixture
def ctrl_c() -> Iterator[CtrlC]:
    with CtrlC() as listening:
        yield listening


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_asks_and_the_second_raises(ctrl_c: CtrlC, number: int, error: type[BaseException]) -> None:
    assert not ctrl_c.asked
    signal.raise_signal(number)
    assert ctrl_c.asked
    assert type(ctrl_c.error) is error
    with pytest.raises(error):
        signal.raise_signal(number)


def test_who_takes_the_signals_over_loses_them_again(ctrl_c: CtrlC) -> None:
    """Lightning does when a training begins."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctrl_c.listen()
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_announcement_is_made_once() -> None:
    said: list[str] = []
    ctrl_c = CtrlC(said.append)
    ctrl_c.announce("soon")
    ctrl_c.announce("soon")
    assert said == ["soon"]


def test_a_validation_is_left_where_there_is_a_checkpoint(tmp_path: Path, ctrl_c: CtrlC) -> None:
    last: Any = LastCheckpoint(tmp_path / "last.ckpt", 10, ctrl_c)
    trainer = SimpleNamespace(world_size=1)
    last.on_validation_batch_end(trainer)
    signal.raise_signal(signal.SIGTERM)
    last.on_validation_batch_end(trainer)  # the epoch's end will write the first one
    last.path.touch()
    with pytest.raises(Interrupted):
        last.on_validation_batch_end(trainer)


def test_asked_before_the_first_step(tmp_path: Path, ctrl_c: CtrlC) -> None:
    last: Any = LastCheckpoint(tmp_path / "last.ckpt", 10, ctrl_c)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Terminated):
        last.on_train_start(None, None)


class At(Callback):
    """Does something after a step."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self.step = step
        self.act = act

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.act()


@pytest.mark.slow
def test_sigterm_keeps_model_and_checkpoint_and_a_second_one_ends_at_once(digits: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    quiet = Console(quiet=True)

    def once() -> None:
        signal.raise_signal(signal.SIGTERM)

    def twice() -> None:
        once()
        once()

    with pytest.raises(Terminated):
        bw.train(digits, out=tmp_path / "a", console=quiet, callbacks=[At(1, once)], **SETTINGS)
    run = Run(tmp_path / "a")
    assert run.model_file.is_file()
    assert run.last_checkpoint.is_file()
    with pytest.raises(Terminated):
        bw.train(digits, out=tmp_path / "b", console=quiet, callbacks=[At(1, twice)], **SETTINGS)
    assert not Run(tmp_path / "b").model_file.exists()
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    bw.train(digits, resume=run.folder, console=quiet)


@pytest.mark.slow
def test_a_run_without_validation_goes_on_without(digits: Path, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    run = bw.train(digits, out=tmp_path / "a", console=quiet, **{**SETTINGS, "epochs": 1, "val_split": "none"})
    bw.train(digits, resume=run.folder, console=quiet, val_split="none", epochs=2)
    with pytest.raises(RecipeError, match="val_split can't change"):
        bw.train(digits, resume=run.folder, console=quiet, val_split="val", epochs=3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_reach_the_workers_too(digits: Path, tmp_path: Path, number: int, code: int) -> None:
    """As of a terminal, of timeout(1) or of a service that is stopped: no trace, and the training ends in order."""
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items() if name != "epochs"]
    command = [sys.executable, "-m", "boxwright", "train", str(digits), "--out", str(tmp_path / "run"), "--workers=2"]
    process = subprocess.Popen(
        [*command, "--epochs=500", "--checkpoint-minutes=0", *settings],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    run = Run(tmp_path / "run")
    deadline = time.monotonic() + 200
    while not run.last_checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == code, said
    assert f"--resume {run.folder} goes on" in said
    assert "Traceback" not in said
    assert run.model_file.is_file()
