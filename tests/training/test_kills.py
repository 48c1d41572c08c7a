"""A training that is killed again and again ends as one that never was, whatever it was doing."""

import multiprocessing
import random
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from same_end import assert_same_end

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.runs import Run

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "image_size": 64,
    "width": 16,
    "batch_size": 4,
    "epochs": 3,
    "freeze": 4,
    "optimizer": "sgd",
}
KILLS = 10


def live(data: Path, folder: Path, moment: int, told: Connection) -> None:
    """Begin a run, or go on with it, and tell when it is about to change its files for the ``moment``-th time."""
    count = 0

    def notice(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and {"w", "+"} & set(arguments[1] or "")
        if (writes or event in ("os.mkdir", "os.rename")) and str(folder) in str(arguments[0]):
            count += 1
            if count == moment:
                told.send_bytes(b"now")

    sys.addaudithook(notice)
    quiet = Console(quiet=True)
    if Run(folder).data_file.exists():
        bw.train(data, resume=folder, console=quiet)
    else:
        bw.train(data, out=folder, checkpoint_minutes=0, console=quiet, **SETTINGS)


def test_ten_kills(tmp_path: Path) -> None:
    data, draw = make_digits(tmp_path / "digits", images={"train": 21, "val": 2}, size=64), random.Random(0)
    whole = bw.train(data, out=tmp_path / "whole", checkpoint_minutes=0, console=Console(quiet=True), **SETTINGS)
    run, context = Run(tmp_path / "run"), multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["boxwright.compare.run.execute"])  # torch is imported once for all lives
    for _ in range(KILLS):
        heard, told = context.Pipe(duplex=False)
        process = context.Process(target=live, args=(data, run.folder, draw.randint(1, 26), told))
        process.start()
        told.close()
        assert heard.recv_bytes() == b"now"
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    bw.train(data, resume=run.folder, console=Console(quiet=True))
    assert_same_end(run, whole)
    assert run.model_file.read_bytes() == whole.model_file.read_bytes()
    assert not list(run.folder.glob(".*.partial"))
