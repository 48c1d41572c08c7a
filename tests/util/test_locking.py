"""A lock belongs to a process, and ends with it."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from boxwright._util import locking
from boxwright._util.locking import locked
from boxwright.errors import RecipeError, WriteError

HOLD = """
import sys, time
from pathlib import Path
from boxwright._util.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""

FORK = """
import os, signal, sys
from pathlib import Path
from boxwright._util.locking import locked
with locked(Path(sys.argv[1])):
    if os.fork():
        signal.pause()
    print(os.getpid(), flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
"""


def test_a_second_one_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with (
        locked(lock),
        pytest.raises(RecipeError, match=rf"{tmp_path} is in use by process {os.getpid()} on .+: wait"),
        locked(lock),
    ):
        pass
    assert lock.read_bytes() == b""
    with locked(lock):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RecipeError, match=f"process {holder.pid} on"), locked(lock):
            pass
        holder.kill()
    assert lock.read_text().startswith("process")  # the file says so still
    with locked(lock):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_keep_the_lock_of_its_killed_parent(tmp_path: Path) -> None:
    """As the workers of a loader, which outlive a process that is killed by some seconds."""
    lock = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", FORK, str(lock)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert holder.wait() == -signal.SIGKILL
            with locked(lock):
                os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)


def test_patience_outlasts_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = ExitStack()
    held.enter_context(locked(tmp_path / "run.lock"))
    monkeypatch.setattr(locking.time, "sleep", lambda _: held.close())
    with locked(tmp_path / "run.lock", patience=60):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_a_file_system_without_locks_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    with locked(tmp_path / "run.lock"):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"can't write .*nowhere/run\.lock"), locked(tmp_path / "nowhere" / "run.lock"):
        pass
