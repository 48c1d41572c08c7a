"""Processes that are started here: their codes, and the signals that reach them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from boxwright._util import launching
from boxwright._util.launching import launch, launch_on_gpus, started_by
from boxwright.errors import BoxwrightError, RecipeError

NOTE = """import os, sys
with open(sys.argv[1] + os.environ["RANK"], "w") as file:
    file.write(" ".join(os.environ[name] for name in sys.argv[2:]))"""
LEAST = """import sys
from boxwright.training.distributed import Ranks
ranks = Ranks.of_environment()
sys.exit(10 * ranks.world + ranks.least(7 - ranks.rank, "cpu"))"""
WAIT = """import os, sys, time
from pathlib import Path
me = Path(sys.argv[1]) / os.environ["RANK"]
try:
    me.touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    me.write_text("ended in order")"""
LAUNCH = """import sys
from boxwright._util.stopping import stopping_in_order
from boxwright._util.launching import launch
with stopping_in_order():
    try:
        launch([sys.executable, "-c", *sys.argv[1:]], 2)
    except BaseException as error:
        print(type(error).__name__)"""


def run(code: str, *arguments: str) -> int:
    return launch([sys.executable, "-c", code, *arguments], 2)


def test_each_process_knows_its_rank(tmp_path: Path) -> None:
    assert run(NOTE, f"{tmp_path}/", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE") == 0
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["0 0 2 2", "1 1 2 2"]


def test_the_code_of_the_first_that_fails_ends_the_others() -> None:
    began = time.monotonic()
    assert run("import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(60)") == 3
    assert time.monotonic() - began < 50


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(BoxwrightError, match="process 1 of 2 was ended by SIGKILL"):
        run("import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(60)")


@pytest.mark.slow
def test_the_least_of_all_is_what_all_get() -> None:
    assert run(LEAST) == 26


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated")])
def test_a_signal_reaches_the_processes_and_their_end_is_waited_for(tmp_path: Path, number: int, error: str) -> None:
    wait = (
        WAIT
        if number == signal.SIGINT
        else f"import signal\nsignal.signal({number}, signal.default_int_handler)\n{WAIT}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, wait, str(tmp_path)], text=True, stdout=subprocess.PIPE, start_new_session=True
    )
    while not all((tmp_path / rank).exists() for rank in "01"):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)
    assert process.communicate(timeout=60)[0].split() == [error]
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["ended in order"] * 2


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RecipeError, match=r"gpus of at most 2, .* got 3"):
        launch_on_gpus([], 3)
    asked: list[Any] = []
    monkeypatch.setattr(launching, "launch", lambda command, processes: asked.append((command, processes)) or 0)
    assert launch_on_gpus(["train", "data"], 2) == 0
    assert asked == [([sys.executable, "-P", "-m", "boxwright", "train", "data"], 2)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match="at most 0"):
        launch_on_gpus([], 2)


def test_a_process_that_was_started_starts_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert not started_by(4)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert started_by(4)
    with pytest.raises(RecipeError, match=r"torchrun has started 4 processes, .* leave it out"):
        started_by(2)
