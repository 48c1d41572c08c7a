"""A run that was stopped and goes on ends as one that never was: bit by bit, whatever stopped it."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from made_up_scores import make_up_ap
from rich.console import Console
from same_end import assert_same_end

import boxwright as bw
from boxwright._util.ownership import mark_folder
from boxwright.cli import main
from boxwright.demo_data import make_digits
from boxwright.errors import DataError, RecipeError, WriteError
from boxwright.runs import Run
from boxwright.training.checkpoints import AtomicCheckpoints, LastCheckpoint, Position, read_position

pytestmark = pytest.mark.slow

SETTINGS = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 3, "freeze": 4, "precision": "float32"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 21, "val": 4}, size=64)


def train(digits: Path, out: Path, **options: Any) -> Run:
    return bw.train(digits, out=out, console=Console(quiet=True), checkpoint_minutes=0, **{**SETTINGS, **options})


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, tmp_path_factory.mktemp("whole") / "run")


def start(digits: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """The same training in a process of its own."""
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items() if name != "epochs"]
    command = [sys.executable, "-m", "boxwright", "train", str(digits), "--out", str(out), "--checkpoint-minutes=0"]
    command += [f"--epochs={SETTINGS['epochs']}", *settings, *more]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(run: Run, position: Position, process: subprocess.Popen[str]) -> None:
    """Until the last checkpoint stands at least there."""
    for _ in range(6000):
        if run.last_checkpoint.exists() and read_position(run.last_checkpoint) >= position:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    raise AssertionError("the training never got there")


def test_killed_in_the_middle_of_an_epoch(digits: Path, whole: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    process = start(digits, run.folder)
    wait_for(run, Position(1, 2, 7), process)
    process.kill()
    process.wait()
    position = read_position(run.last_checkpoint)
    assert position.batches > 0 or position.epoch > 1, position
    assert not run.model_file.exists()
    bw.train(digits, resume=run.folder, console=Console(quiet=True))
    assert_same_end(run, whole)


@pytest.mark.parametrize("workers", [0, 1])
def test_stopped_by_ctrl_c(digits: Path, whole: Run, tmp_path: Path, workers: int) -> None:
    run = Run(tmp_path / "run")
    process = start(digits, run.folder, f"--workers={workers}")
    wait_for(run, Position(1, 1, 6), process)
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    assert f"--resume {run.folder} goes on" in said
    assert "Traceback" not in said
    assert run.load().predict(torch.rand(3, 64, 64))  # the best so far
    bw.train(digits, resume=run.folder, console=Console(quiet=True))
    assert_same_end(run, whole)


def test_resumed_between_two_epochs(digits: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the checkpoint of the second epoch and the first step of the third."""
    write = LastCheckpoint._write

    def and_die(self: LastCheckpoint, trainer: L.Trainer) -> None:
        write(self, trainer)
        if trainer.global_step == 10 and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            raise ConnectionError("pulled the plug")

    monkeypatch.setattr(LastCheckpoint, "_write", and_die)
    with pytest.raises(ConnectionError):
        train(digits, tmp_path / "run")
    monkeypatch.undo()
    run = Run(tmp_path / "run")
    assert read_position(run.last_checkpoint) == Position(2, 0, 10)
    bw.train(digits, resume=run.folder, console=Console(quiet=True))
    assert_same_end(run, whole)


def test_resumed_after_an_epoch_and_longer(digits: Path, whole: Run, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", epochs=1)
    said = Console(record=True, file=(tmp_path / "said").open("w"), width=200)
    bw.train(digits, resume=run.folder, epochs=3, console=said)
    text = said.export_text()
    assert "going on" in text
    assert "3 epochs instead of 1" in text
    assert read_position(run.last_checkpoint) == Position(3, 0, 15)
    assert bw.recipes.get_recipe(run.recipe_file).epochs == 3
    started, resumed = json.loads(run.data_file.read_text())["origin"]["commands"]
    assert started.startswith(f"boxwright train {digits} --recipe lite320 --set image_size=64")
    assert resumed == f"boxwright train {digits} --resume {run.folder} --epochs 3"


def test_a_finished_run_stays_as_it_is(digits: Path, whole: Run, tmp_path: Path) -> None:
    before = content(whole)
    assert "is finished: 3 epochs done. More --epochs train on" in said_by(digits, tmp_path, resume=whole.folder)
    assert content(whole) == before
    assert {"metrics.csv", "run.lock", ".boxwright"} <= before.keys()


def said_by(digits: Path, folder: Path, **options: Any) -> str:
    said = Console(record=True, file=(folder / "said").open("w"), width=300)
    bw.train(digits, console=said, **options)
    return said.export_text()


def content(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.folder.iterdir()}


def test_minutes_that_are_over_stay_over_unless_there_are_more(digits: Path, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", minutes=0.001, val_split=None)
    before = content(run)
    assert "is finished: 0.001 minutes done. More --minutes" in said_by(digits, tmp_path, resume=run.folder)
    assert content(run) == before
    steps = read_position(run.last_checkpoint).step
    text = said_by(digits, tmp_path, resume=run.folder, minutes=0.02)
    assert "going on" in text
    assert read_position(run.last_checkpoint).step > steps
    assert "is finished: 0.02 minutes done" in said_by(digits, tmp_path, resume=run.folder)


def test_steps_that_are_done_stay_done_unless_there_are_more(digits: Path, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", steps=1, val_split=None)
    before = content(run)
    assert "is finished: 1 step done. More --steps train on" in said_by(digits, tmp_path, resume=run.folder)
    assert content(run) == before
    said_by(digits, tmp_path, resume=run.folder, steps=2)
    assert read_position(run.last_checkpoint).step == 2
    with pytest.raises(RecipeError, match=r"started with a number of steps: give it more of them instead of minutes"):
        bw.train(digits, resume=run.folder, minutes=1.0, console=Console(quiet=True))


def test_what_patience_ended_stays_so_unless_there_are_more_epochs(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_up_ap(monkeypatch, iter([0.5, 0.4, 0.4]))
    run = train(digits, tmp_path / "run", patience=1)
    before = content(run)
    assert "is finished: 1 epoch without a better AP" in said_by(digits, tmp_path, resume=run.folder)
    assert content(run) == before
    assert "going on" in said_by(digits, tmp_path, resume=run.folder, epochs=4)


def die(*_: Any, **__: Any) -> None:
    raise ConnectionError("pulled the plug")


def test_killed_before_the_first_checkpoint(
    digits: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [Run(tmp_path / name) for name in ("resumed", "again")]
    monkeypatch.setattr(AtomicCheckpoints, "save_checkpoint", die)
    for run in runs:
        with pytest.raises(ConnectionError):
            train(digits, run.folder)
        assert not list(run.folder.glob("*.ckpt"))
    monkeypatch.undo()
    assert "was stopped before its first checkpoint" in said_by(digits, tmp_path, resume=runs[0].folder)
    assert_same_end(runs[0], whole)
    train(digits, runs[1].folder, epochs=1)
    assert runs[1].record["training"]["steps"] == 5
    with pytest.raises(RecipeError, match="holds a run already"):
        train(digits, runs[1].folder)


def test_finished_and_killed_before_the_model_was_kept(
    digits: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "keep", die)
    with pytest.raises(ConnectionError):
        train(digits, tmp_path / "run")
    monkeypatch.undo()
    run = Run(tmp_path / "run")
    text = said_by(digits, tmp_path, resume=run.folder)
    assert "is finished: 3 epochs done" in text
    assert_same_end(run, whole)
    assert run.model_file.read_bytes() == whole.model_file.read_bytes()
    assert run.record["training"]["steps"] == 15
    assert run.record["training"]["images/s"] > 0


def test_a_damaged_last_checkpoint_names_the_best_and_the_command_that_goes_on(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_up_ap(monkeypatch, repeat(0.5))
    whole, run = train(digits, tmp_path / "whole"), Run(tmp_path / "run")
    shutil.copytree(whole.folder, run.folder)
    assert read_position(run.best_checkpoint) == Position(1, 0, 5)
    last = bytearray(run.last_checkpoint.read_bytes())
    last[len(last) // 2] ^= 1
    run.last_checkpoint.write_bytes(last)
    before = content(run)
    with pytest.raises(RecipeError, match=r"last\.ckpt is no checkpoint .*best\.ckpt is whole, and goes on") as caught:
        bw.train(digits, resume=run.folder, console=Console(quiet=True))
    assert content(run) == before
    command = str(caught.value).partition("best epoch: ")[2]
    assert command == f"boxwright train {digits} --resume {run.best_checkpoint}"
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert_same_end(run, whole)
    run.best_checkpoint.write_bytes(b"damaged")
    with pytest.raises(RecipeError, match=rf"last\.ckpt is whole, and goes on where .*--resume {run.last_checkpoint}$"):
        bw.train(digits, resume=run.best_checkpoint, console=Console(quiet=True))
    run.last_checkpoint.write_bytes(b"damaged")
    with pytest.raises(RecipeError, match="no whole one left: start a new run, the model of this one stays"):
        bw.train(digits, resume=run.folder, console=Console(quiet=True))
    run.model_file.unlink()
    with pytest.raises(RecipeError, match=r"remove last\.ckpt and best\.ckpt, and the same command begins anew"):
        bw.train(digits, resume=run.folder, console=Console(quiet=True))


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.made),)


def test_a_malicious_checkpoint_is_not_gone_on_from(digits: Path, whole: Run, tmp_path: Path) -> None:
    run, made = Run(tmp_path / "run"), tmp_path / "made"
    shutil.copytree(whole.folder, run.folder)
    state = torch.load(run.last_checkpoint, weights_only=True)
    torch.save({**state, "callbacks": {**state["callbacks"], "x": Malice(made)}}, run.last_checkpoint)
    with pytest.raises(RecipeError, match="Python objects in it, which could run any code, and is not opened; best"):
        bw.train(digits, resume=run.folder, epochs=9, console=Console(quiet=True))
    assert not made.exists()


def test_one_training_at_a_time(digits: Path, tmp_path: Path) -> None:
    seen = []

    class Another(Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            for options in ({"out": tmp_path / "run"}, {"resume": tmp_path / "run"}):
                with pytest.raises(RecipeError) as caught:
                    bw.train(digits, console=Console(quiet=True), **options)  # type: ignore[arg-type]
                seen.append(str(caught.value))

    run = train(digits, tmp_path / "run", steps=1, callbacks=[Another()], val_split=None)
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert seen == [f"{run.folder} is in use by {who}: wait until it ends, or end it"] * 2
    assert read_position(run.last_checkpoint).step == 1
    assert bw.train(digits, resume=run.folder, console=Console(quiet=True)) == run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_is_one_line(digits: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    mark_folder(run.folder, "run")
    (run.folder / ".best.ckpt.partial").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"can't write .*best\.ckpt: no space left on device: free some space, or"):
        train(digits, run.folder, epochs=1)
    assert not run.best_checkpoint.exists()
    assert not list(run.folder.glob(".*.partial"))
    assert read_position(run.last_checkpoint).step == 4  # goes on once there is room


def test_checkpoints_hold_plain_values_and_leave_no_halves(whole: Run) -> None:
    for path in (whole.best_checkpoint, whole.last_checkpoint):
        assert torch.load(path, weights_only=True)["state_dict"]
    assert not list(whole.folder.glob(".*partial"))


def test_what_may_not_change(digits: Path, whole: Run, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    with pytest.raises(RecipeError, match="lr can't change"):
        bw.train(digits, resume=whole.folder, lr=1.0, console=quiet)
    with pytest.raises(RecipeError, match="seed can't change"):
        bw.train(digits, resume=whole.folder, seed=5, console=quiet)
    with pytest.raises(RecipeError, match="started with epochs"):
        bw.train(digits, resume=whole.folder, minutes=1.0, console=quiet)
    with pytest.raises(RecipeError, match="has its recipe"):
        bw.train(digits, "lite320", resume=whole.folder, console=quiet)
    with pytest.raises(RecipeError, match=r"no recipe\.yaml"):
        bw.train(digits, resume=tmp_path, console=quiet)
    other = make_digits(tmp_path / "other", images={"train": 21, "val": 4}, size=64, seed=9)
    with pytest.raises(DataError, match="has changed"):
        bw.train(other, resume=whole.folder, epochs=9, console=quiet)
    for name in ("recipe.yaml", "data.json"):
        (tmp_path / name).write_bytes((whole.folder / name).read_bytes())
    (tmp_path / "last.ckpt").write_bytes(b"something else")
    with pytest.raises(RecipeError, match="no checkpoint"):
        bw.train(digits, resume=tmp_path, console=quiet)
    (tmp_path / "data.json").write_text(json.dumps({"data": {}}))
    with pytest.raises(RecipeError, match="how it was started"):
        bw.train(digits, resume=tmp_path, console=quiet)
