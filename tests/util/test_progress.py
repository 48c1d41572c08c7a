"""Progress: a bar on a terminal, elsewhere a line now and then for what takes long, none for what is quick or quiet."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from rich.console import Console

from boxwright._util import progress


class Clock:
    """A time that goes on by a second at each look."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "time", Clock())


def run(console: Console, steps: int, total: int | None = 9) -> None:
    with progress.bar("reading [red]a\x1b", console) as advance:
        for done in range(1, steps + 1):
            advance(done, total)


def test_long_work_says_where_it_is_whenever_its_time_has_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(file=io.StringIO()), 20, 40)
    lines = [f"reading [red]a\\x1b: {done} of 40 after {done} s" for done in (3, 7, 15)]
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in lines))
    run(Console(file=io.StringIO()), 6, None)
    assert capsys.readouterr().err == "reading [red]a\\x1b: 3 after 3 s\n"


def test_no_silence_is_longer_than_ten_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(file=io.StringIO()), 4000, None)
    seconds = [int(line.rsplit(maxsplit=2)[1]) for line in capsys.readouterr().err.splitlines()]
    assert max(later - earlier for earlier, later in pairwise(seconds)) == 601
    assert len(seconds) < 16


def test_quick_work_and_a_quiet_console_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(file=io.StringIO()), 2)
    run(Console(file=io.StringIO()), 3, total=3)
    run(Console(quiet=True), 8)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colors_are_forced_but_no_bar(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "1")
    console = Console(file=io.StringIO())
    assert console.is_terminal
    run(console, 4)
    assert "3 of 9 after 3 s" in capsys.readouterr().err
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_a_dumb_terminal_has_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), force_terminal=True)
    run(console, 4)
    assert "3 of 9 after 3 s" in capsys.readouterr().err
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_a_terminal_has_a_bar_that_goes(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    with progress.bar("reading [red]a\x1b", Console(file=file, force_terminal=True, width=80)) as advance:
        advance(3, 9)
    assert "reading [red]a\\x1b" in file.getvalue()
    assert "33%" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K"), "the line is cleared at the end"
    assert capsys.readouterr() == ("", "")
