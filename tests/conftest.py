"""Puts this folder on the path, for what several tests share; the same examples at every run; torch left as found; no
test hangs on the clock, or writes into a user's cache; the command line within a test's own process; a browser."""

import math
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import Phase, settings

from boxwright._util import progress, turns
from boxwright.cli import main
from chromium import CHROMIUM, FLAGS
from command_line import Boxwright, Outcome

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("unshrunk", settings.get_profile("same"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: several processes end at the same time if what is left at the end is quick."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, driven by selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    driver_file = shutil.which("chromedriver")
    if CHROMIUM is None or driver_file is None:
        pytest.skip("Chromium and its driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,1400"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_file))
    yield driver
    driver.quit()


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
