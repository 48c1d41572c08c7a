"""How far a training is, and its learning rate (T24: tested numerically)."""

import time

import pytest

from boxwright.training.schedule import Progress, cosine, lr_factor, steps


def test_learning_rate_rises_then_falls_along_half_a_cosine() -> None:
    assert lr_factor(0.0, 0.1, cosine) == 0.001
    assert lr_factor(0.05, 0.1, cosine) == pytest.approx(0.5)
    assert lr_factor(0.1, 0.1, cosine) == pytest.approx(1.0)
    assert lr_factor(0.325, 0.1, cosine) == pytest.approx(0.01 + 0.99 * 0.8535534)
    assert lr_factor(0.55, 0.1, cosine) == pytest.approx(0.505)
    assert lr_factor(1.0, 0.1, cosine) == pytest.approx(0.01)
    assert lr_factor(0.0, 0.0, cosine) == pytest.approx(1.0)
    assert lr_factor(1.0, 1.0, cosine) == pytest.approx(1.0)
    assert [round(lr_factor(done, 0.5, steps), 9) for done in (0.25, 0.5, 0.83, 0.84, 1.0)] == [0.5, 1, 1, 0.1, 0.01]


def test_steps_are_counted() -> None:
    progress = Progress(steps=10)
    progress.mark(4, 99.0)
    assert progress.done == 0.4
    progress.mark(12, 99.0)
    assert progress.done == 1.0


def test_only_running_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress(minutes=1)
    now[0] += 50  # before the start
    progress.start()
    progress.resume()
    now[0] += 15
    progress.mark(1, progress.elapsed)
    assert progress.done == 0.25
    progress.pause()
    progress.pause()
    now[0] += 1000  # validation
    assert progress.elapsed == 15
    progress.resume()
    now[0] += 45
    progress.mark(2, progress.elapsed)
    assert progress.done == 1.0
    progress.start(30.0)  # a resumed training
    now[0] += 3
    assert progress.elapsed == 33


@pytest.mark.parametrize("limits", [{}, {"steps": 3, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}])
def test_exactly_one_limit(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        Progress(**limits)  # type: ignore[arg-type]
