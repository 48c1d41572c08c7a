"""Ways of one thing are timed by a clock of the test."""

import pytest

from boxwright._util import turns
from boxwright._util.turns import least_seconds


class Clock:
    """Stands still but for what a step takes."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def way(self, *seconds: float):
        each = iter(seconds)

        def step() -> None:
            self.now += next(each)

        return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(turns, "clock", made)
    return made


def test_each_has_its_least(clock: Clock) -> None:
    assert least_seconds([clock.way(4, 2, 3), clock.way(1, 5, 6)], turns=3, budget=100) == [2, 1]


def test_no_turn_begins_beyond_the_budget(clock: Clock) -> None:
    assert least_seconds([clock.way(4, 2), clock.way(3, 1)], turns=9, budget=8) == [2, 1]
    assert least_seconds([clock.way(4), clock.way(5)], turns=9, budget=8) == [4, 5]
