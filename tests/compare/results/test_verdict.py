"""The words of a comparison: every arm in one finding, those that have shown the same together."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.compare.results.results import METRICS, Arm, Comparison, RunResult
from boxwright.compare.results.statistics import Difference, compare_scores
from boxwright.compare.results.verdict import WORTH_KNOWING, what_moved

STAY = "Stay with base: no arm is shown to be better."


def between(low: float, high: float, seeds: int = 3) -> Difference:
    verdict: Any = "better" if low > 0 else "worse" if high < 0 else "no detectable difference"
    return Difference((low + high) / 2, low, high, 0.95, 0.5, verdict, 0.004, 0.003, seeds)


def single(mean: float) -> Difference:
    return Difference(mean, nan, nan, 0.95, nan, "no detectable difference", nan, 0.004, 1)


def run(arm: str, seed: int, failed: str = "") -> RunResult:
    return RunResult(arm, seed, {} if failed else dict.fromkeys(METRICS, 0.5), {}, {}, 1.0, 1.0, 1.0, 1, failed)


def comparison(
    differences: Mapping[str, Difference], failed: Mapping[str, int] | None = None, **facts: Any
) -> Comparison:
    """Arms with three seeds each, of which the last ones ``failed``; those without a difference have failures alone."""
    failed = failed or {}
    names = ["base", *differences, *(name for name in failed if name != "base")]
    runs = [run(name, seed, "broken" if seed >= 3 - failed.get(name, 0) else "") for name in names for seed in range(3)]
    return Comparison("t", [Arm(name, {}, baseline=name == "base") for name in names], runs, differences, facts)


@pytest.mark.parametrize(
    ("differences", "lines"),
    [
        (
            {"ciou": between(-0.012, 0.009), "eiou": between(-0.016, 0.012), "focal_eiou": between(-0.028, 0.032)},
            [
                STAY,
                "ciou, eiou: any gain above 0.012 AP is ruled out",
                "focal_eiou: not tested enough (±0.030): a gain of up to 0.032 AP is still possible",
            ],
        ),
        (
            {"a": between(-0.03, 0.03), "b": between(-0.01, 0.05)},
            [STAY, "a, b: not tested enough (up to ±0.030): a gain of up to 0.050 AP is still possible"],
        ),
        (
            {"giou": between(0.012, 0.030), "ciou": between(-0.004, 0.008)},
            ["Take giou.", "giou: better by 0.021 AP [0.012, 0.030]", "ciou: any gain above 0.008 AP is ruled out"],
        ),
        (
            {"a": between(0.002, 0.01), "b": between(0.012, 0.030)},
            [
                "Take b: its gain is the largest. Which of the better arms is best wasn't tested.",
                "b: better by 0.021 AP [0.012, 0.030]",
                "a: better by 0.006 AP [0.002, 0.010]",
            ],
        ),
        ({"a": between(-0.155, -0.089)}, [STAY, "a: worse by 0.122 AP [0.089, 0.155]"]),
        (
            {"a": between(-0.155, -0.089), "b": between(-0.03, -0.01)},
            [STAY, "a, b: worse, by 0.020 to 0.122 AP"],
        ),
        ({"a": between(-0.3, 0.0001)}, [STAY, "a: any gain above 0.001 AP is ruled out"]),
        ({"a": between(0, 0), "b": between(0, 0)}, [STAY, "a, b: the same AP as base with every seed"]),
        (
            {"a": single(0.2), "b": single(-0.2), "c": single(0.0)},
            [STAY, "a, b, c: not tested: one seed doesn't show the noise between seeds"],
        ),
        (
            {"iou:mode=log": between(-0.01, 0.01), "focal_eiou:gamma=0.5,detach=true": between(-0.01, 0.011)},
            [STAY, "iou:mode=log, focal_eiou:gamma=0.5,detach=true: any gain above 0.011 AP is ruled out"],
        ),
    ],
)
def test_what_each_arm_has_shown(differences: dict[str, Difference], lines: list[str]) -> None:
    assert comparison(differences).headline.lines == lines


def test_an_arm_that_failed_says_how_often() -> None:
    found = comparison({"a": between(-0.01, 0.01)}, {"b": 1, "c": 3})
    assert found.headline.lines == [
        STAY,
        "a: any gain above 0.010 AP is ruled out",
        "b: not compared: 1 of its 3 runs failed",
        "c: not compared: every run failed",
    ]


def test_without_the_baseline_nothing_can_be_said() -> None:
    found = comparison({}, {"base": 3, "a": 1})
    assert found.headline.lines == ["Nothing can be said: no run of the baseline, base, has a result."]


def test_where_all_others_failed_the_baseline_stays() -> None:
    assert str(comparison({}, {"a": 3}).headline) == f"{STAY}\na: not compared: every run failed"


@pytest.mark.parametrize(
    ("difference", "advice"),
    [
        (between(0.01, 0.03), "With the backbone frozen, a is the best: try it in the full tier."),
        (
            between(-0.01, 0.01),
            "With the backbone frozen, no arm is shown to be better than base: full training may differ.",
        ),
    ],
)
def test_the_frozen_tier_advises_no_more_than_it_knows(difference: Difference, advice: str) -> None:
    assert comparison({"a": difference}, tier="frozen").headline.advice == advice


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 0.01, 0.1]))
def test_every_arm_is_in_one_finding_and_what_is_said_is_true(seed: int, arms: int, seeds: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    scores = 0.5 + noise * random.standard_normal((arms + 1, 1)) + noise / 5 * random.standard_normal((arms + 1, seeds))
    drawn = np.repeat(scores[..., None], 10, axis=-1)
    found = dict(zip("abcde", compare_scores(scores, drawn, 50), strict=False))
    headline = comparison(found).headline
    assert sorted(arm for finding in headline.findings for arm in finding.arms) == sorted(found)
    for finding in headline.findings:
        for each in (found[arm] for arm in finding.arms):
            if "ruled out" in finding.words:
                limit = float(finding.words.split()[3])
                assert each.high <= min(limit + 5e-4, WORTH_KNOWING)
            if finding.words.startswith(("better", "worse")):
                assert finding.words.startswith(each.verdict)


def test_what_moved() -> None:
    lost, baseline = {"localization": 0.05, "missed": 0.09}, {"localization": 0.08, "missed": 0.02}
    assert "where localization errors fell: they cost 0.050 of AP50 instead of 0.080" in what_moved(
        "a", True, lost, baseline
    )
    assert "a loses most where missed errors rose" in what_moved("a", False, lost, baseline)
    assert what_moved("a", True, {"missed": 0.03}, {"missed": 0.02}) == ""
    assert what_moved("a", True, {"missed": nan}, {"missed": 0.02}) == ""
