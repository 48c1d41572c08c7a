"""The command line within the test's own process."""

from __future__ import annotations

import sys

import pytest

from boxwright.cli import main
from command_line import Boxwright, Outcome


@pytest.fixture
def boxwright(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Boxwright:
    """Run ``boxwright`` with these arguments."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["boxwright", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(stop.value.code or 0, *capsys.readouterr())

    return run
