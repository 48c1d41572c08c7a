"""Puts this folder on the path, for what several tests share; the same examples at every run; torch left as found; no
test hangs on the clock, or writes into a user's cache; the command line within a test's own process."""

import math
import sys
from collections.abc import Iterator
from itertools import count

import pytest
import torch
from hypothesis import Phase, settings

from boxwright._util import progress, turns
from boxwright.cli import main
from command_line import Boxwright, Outcome

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("unshrunk", settings.get_profile("same"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("same")


@pytest.fixture(autouse=True, scope="session")
def same_choices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is chosen by its speed: all ways take as long as one another, and no choice is kept."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turns, "clock", count().__next__)
        patched.setenv("BOXWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Sums come out otherwise with another number of threads, so a test that changes it changes those after it."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """The compiler remembers sizes: what another test compiled for other ones is traced for any size, for hours."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def boxwright(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Boxwright:
    """Run ``boxwright`` with these arguments; how fast the machine is makes no difference to what it says."""
    monkeypatch.setattr(progress, "_QUICK", math.inf)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["boxwright", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(stop.value.code or 0, *capsys.readouterr())

    return run
