"""A run that was stopped and goes on ends as one that never was: bit by bit, whatever stopped it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import DataError, RecipeError
from boxwright.runs import Run
from boxwright.training.checkpoints import LastCheckpoint, Position, read_position

pytestmark = pytest.mark.slow

SETTINGS = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 3, "freeze": 4}


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


def assert_same_end(run: Run, other: Run) -> None:
    """Weights, averages, optimiser, schedule and curves."""
    states = [torch.load(r.last_checkpoint, weights_only=True) for r in (run, other)]
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
        assert_equal(states[0][key], states[1][key], key)
    models = [load_file(r.model_file) for r in (run, other)]
    assert_equal(models[0], models[1], "model")
    rows = [list(csv.DictReader(r.metrics_file.open())) for r in (run, other)]
    assert rows[0] == rows[1]


def assert_equal(ours: Any, theirs: Any, where: str) -> None:
    assert type(ours) is type(theirs), where
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(a, b, f"{where}[{place}]")
    else:
        assert ours == theirs, where


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
    before = whole.model_file.read_bytes()
    said = Console(record=True, file=(tmp_path / "said").open("w"), width=200)
    bw.train(digits, resume=whole.folder, console=said)
    assert "is finished" in said.export_text()
    assert whole.model_file.read_bytes() == before


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
