"""Intervals and verdicts in closed form, and what is kept of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import RecipeError
from boxwright.reproduce import CLAIMS, Outcome, judge
from boxwright.reproduce.outcomes import paired_interval, read_outcome, write_outcome
from boxwright.reproduce.page import make_page

nan = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "as stated"),
        (-0.02, -0.001, "opposite"),
        (-0.01, 0.02, "no difference at this size"),
        (0.0, 0.0, "no difference at this size"),
        (0.0, 0.1, "no difference at this size"),
        (-0.1, 0.0, "no difference at this size"),
        (nan, nan, "no difference at this size"),
    ],
)
def test_verdict(low: float, high: float, verdict: str) -> None:
    assert judge(low, high) == verdict
    assert judge(-high, -low, less_is_better=True) == verdict


def test_paired_interval_is_students() -> None:
    away = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # mean .35, sd sqrt(.035), t of 5 degrees 2.5706
    against = [7.0, 3.0, 1.0, 9.0, 4.0, 2.0]
    found = paired_interval([a + b for a, b in zip(against, away, strict=True)], against)
    reach = 2.5706 * (0.035 / 6) ** 0.5
    assert found.mean == pytest.approx(0.35)
    assert found.high - found.mean == pytest.approx(reach, rel=0.01)
    assert found.mean - found.low == pytest.approx(reach, rel=0.01)


def test_a_difference_that_every_seed_has_is_certain() -> None:
    found = paired_interval([1.5, 2.5], [1.0, 2.0])
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


def test_one_seed_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="two seeds or more but got 1"):
        paired_interval([1.0], [2.0])


def test_an_outcome_is_read_back_and_of_another_definition_it_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    outcome = Outcome("giou-training", "small", 3, 0.5, 0.4, 0.1, nan, nan, "no difference at this size")
    assert read_outcome(file) is None
    write_outcome(file, outcome, {"steps": 2})
    kept = read_outcome(file, {"steps": 2})
    assert kept is not None
    assert (kept.difference, kept.low, kept.high) == (0.1, None, None)
    assert read_outcome(file, {"steps": 3}) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"outcome": {"claim": 1}}', '{"outcome": null}'])
def test_a_damaged_file_is_told_with_its_cure(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecipeError, match=r"a\.json.*remove it"):
        read_outcome(tmp_path / "a.json")


def test_the_page_tells_numbers_failures_and_what_is_missing() -> None:
    first, second, third, *_ = (claim.name for claim in CLAIMS if claim.measure == "AP")
    outcomes = {
        first: Outcome(
            first, "small", 3, 0.5, 0.4, 0.1, -0.05, 0.15, "as stated", machine="a machine", day="2026-01-02"
        ),
        second: Outcome(second, "small", 0, why="no|place\nleft", machine="a machine", day="2026-01-04"),
    }
    page = make_page(outcomes, "small")
    rows = {line.split('"')[1]: line for line in page.splitlines() if line.startswith("| <a id=")}
    assert "giou 0.500, iou 0.400 | +0.1000 [−0.0500, +0.1500] | 3 | **as stated** |" in rows[first]
    assert r"failed: no\|place left |" in rows[second]
    assert rows[third].endswith("| not run yet |")
    assert "Run 2026-01-02 to 2026-01-04 with a machine." in page
