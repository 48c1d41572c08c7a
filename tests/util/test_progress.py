"""Progress: a bar on a terminal, elsewhere one line for what takes long, and none for what is quick or quiet."""

from __future__ import annotations

import io

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


def test_long_work_says_what_it_is_once_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(file=io.StringIO()), 8)
    assert capsys.readouterr() == ("", "reading [red]a\\x1b: 3 of 9 after 3 s\n")
    run(Console(file=io.StringIO()), 8, None)
    assert capsys.readouterr().err == "reading [red]a\\x1b: 3 after 3 s\n"


def test_quick_work_and_a_quiet_console_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(file=io.StringIO()), 2)
    run(Console(file=io.StringIO()), 3, total=3)
    run(Console(quiet=True), 8)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_that_goes(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    with progress.bar("reading [red]a\x1b", Console(file=file, force_terminal=True, width=80)) as advance:
        advance(3, 9)
    assert "reading [red]a\\x1b" in file.getvalue()
    assert "33%" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K"), "the line is cleared at the end"
    assert capsys.readouterr() == ("", "")
