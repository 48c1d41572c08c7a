"""What the command line makes of errors, of streams that fail, and of arguments that can't be."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from boxwright.cli import main
from boxwright.cli import recipe as commands
from boxwright.errors import BoxwrightWarning, DataError
from command_line import Boxwright


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("a\x1b[31m.xml: bad\nboxwright: forged"), "a\\x1b[31m.xml: bad\\nboxwright: forged"),
        (DataError(os.fsdecode(b"caf\xe9")), "caf\\udce9"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "out/x"), "out/x: read-only file system"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x\n"), "x\\n: permission denied"),
        (OSError(errno.ELOOP, os.strerror(errno.ELOOP), "l"), "l: too many levels of symbolic links"),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "n"), "n: file name too long"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "f"), "f: no space left on device"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "can't write the output: no space left on device"),
        (OSError("cannot say more"), "cannot say more"),
    ],
)
def test_an_error_is_one_harmless_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright
) -> None:
    def fail(console: object, text: str) -> None:
        raise error

    monkeypatch.setattr(commands, "say", fail)
    code, out, err = boxwright("recipe", "list")
    assert (code, out, err) == (2, "", f"boxwright: {line}\n")


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    def fail(console: object, text: str) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(commands, "say", fail)
    code, out, err = boxwright("recipe", "list")
    assert (out, err) == ("", "")
    assert code == 1


def test_ctrl_c_is_told(monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    def fail(console: object, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "say", fail)
    assert boxwright("recipe", "list") == (130, "", "boxwright: interrupted\n")


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("also", [None, ImportError("numpy is broken")])
def test_a_signal_while_loading_is_told(
    number: int, code: int, word: str, also: Exception | None, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright
) -> None:
    """A library that is stopped in the middle may say that it is broken."""

    def load(console: object, text: str) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            if also is None:
                raise
        if also is not None:
            raise also

    monkeypatch.setattr(commands, "say", load)
    before = signal.getsignal(number)
    assert boxwright("recipe", "list") == (code, "", f"boxwright: {word}\n")
    assert signal.getsignal(number) == before


def test_want_of_memory_is_told(monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    def take(console: object, text: str) -> None:
        bytearray(10**15)

    monkeypatch.setattr(commands, "say", take)
    code, out, err = boxwright("recipe", "list")
    assert (code, out) == (2, "")
    assert err.startswith("boxwright: out of memory: ")
    assert len(err.splitlines()) == 1


def test_a_loss_that_is_none_is_told_before_torch_is_imported() -> None:
    code = """
import sys
from boxwright.cli import main
sys.argv = ["boxwright", "simulate", "--losses", "gou"]
try:
    main()
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "boxwright: unknown box_loss 'gou'; did you mean 'giou'?\n")


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(console: object, text: str) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(commands, "say", fail)
    monkeypatch.setattr(sys, "argv", ["boxwright", "recipe", "list"])
    with pytest.raises(KeyError, match="a bug"):
        main()


def test_warnings_are_harmless_too(monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    def warn(console: object, text: str) -> None:
        warnings.warn("\x1b[2Jours\nforged", BoxwrightWarning, stacklevel=1)
        warnings.warn("\x1b[2Janother's", UserWarning, stacklevel=1)

    monkeypatch.setattr(commands, "say", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = boxwright("recipe", "list")
    assert code == 0
    assert "boxwright: warning: \\x1b[2Jours\\nforged\n" in err
    assert "UserWarning: \\x1b[2Janother's\n" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("deploy run", "no command 'deploy'; there are check, train, eval, predict, "),
        ("evaluate run", "no command 'evaluate'; did you mean 'eval'?"),
        ("trian data", "no command 'trian'; did you mean 'train'?"),
        ("recipe shwo", "no command 'shwo'; did you mean 'show'?"),
        ("predict", "Missing argument"),
        ("check --jsn x", "No such option"),
        ("inspect data --out .", "directory"),
    ],
)
def test_usage_is_told_in_a_line(line: str, said: str, boxwright: Boxwright) -> None:
    code, _, err = boxwright(*line.split())
    assert code == 2
    assert err.startswith("boxwright: ")
    assert said in err
    assert "(see boxwright " in err
    assert len(err.splitlines()) == 1


NUMBERS = {
    "predict run x --batch": ("auto or 1 to 9999", ["0", "-1", "1.5", "x", "10000", "\u00b2"]),
    "predict run x --precision": ("float32 or bf16", ["fp16", "", "auto"]),
    "predict run x --score": ("0 to 1", ["3", "-0.1", "nan", "inf", "-inf", "1.0001"]),
    "train data --epochs": ("1 to 1000000", ["0", "-1", "10000000"]),
    "train data --minutes": ("a number above 0", ["0", "-1", "nan", "inf"]),
    "train data --steps": ("1 to 1000000000", ["0", "-5"]),
    "train data --seed": ("0 to 4294967295", ["-1", "4294967296"]),
    "train data --workers": ("auto or 0 to 1024", ["-1", "99999"]),
    "train data --gpus": ("1 to 1024", ["0"]),
    "train data --checkpoint-minutes": ("a number of at least 0", ["-1", "nan", "inf"]),
    "compare data --vary a=b --seeds": ("1 to 1000", ["0", "-2"]),
    "compare data --vary a=b --minutes": ("a number above 0", ["0", "nan"]),
    "compare data --vary a=b --steps": ("1 to 1000000000", ["0"]),
    "compare data --vary a=b --threads": ("1 to 4096", ["0", "-1"]),
    "compare data --vary a=b --workers": ("0 to 1024", ["-1"]),
    "hardest data --top": ("1 to 100000", ["0", "-1"]),
    "inspect data --images": ("0 to 1000", ["-1", "1001"]),
    "simulate --centers": ("1 to 1000000", ["0", "-1"]),
    "reproduce all --threads": ("1 to 4096", ["0", "-1"]),
    "demo --minutes": ("a number above 0", ["0", "nan", "inf"]),
}


@pytest.mark.parametrize(("line", "number"), [(line, n) for line, (_, wrong) in NUMBERS.items() for n in wrong])
def test_a_number_out_of_its_range_is_refused_with_it(line: str, number: str, boxwright: Boxwright) -> None:
    *words, flag = line.split()
    code, _, err = boxwright(*words, f"{flag}={number}")
    assert code == 2
    assert f"'{flag}': Expected {NUMBERS[line][0]} but got " in err
    assert len(err.splitlines()) == 1


def started(*arguments: str, **streams: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **streams.pop("env", {})}
    command = [sys.executable, "-m", "boxwright", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, env=environment, **streams)


@pytest.mark.parametrize("arguments", [("recipe", "list"), ("--help",)])
def test_into_a_pipe_that_nobody_reads(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = started(*arguments, stdout=writer)
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_into_a_device_that_is_full() -> None:
    with open("/dev/full", "wb") as full:
        done = started("recipe", "list", stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"boxwright: can't write the output: no space left on device\n"


def test_with_streams_that_are_closed() -> None:
    command = [sys.executable, "-m", "boxwright", "recipe", "list"]
    for closed in ("1>&-", "2>&-", "1>&- 2>&-"):
        done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], capture_output=True, check=False)
        assert done.returncode == 0
        assert done.stderr == b""
        assert (done.stdout == b"") is ("1>" in closed)


def test_on_a_terminal_of_ascii(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xe7\x8c\xab")
    done = started("check", str(tmp_path / name), stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert done.stderr.isascii()
    assert b"caf\\udce9 \\u732b: no such folder" in done.stderr
