"""What the data says of a detector: shares by score, and what lies farther than scatter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.hardest.calibration import _isotonic, calibrated, excess


def test_without_data_a_score_means_itself() -> None:
    assert len(calibrated(np.zeros(0), np.zeros(0, np.bool_))) == 0


def test_many_detections_are_believed_as_often_as_they_are_right() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 1, 20_000)
    true = 1 / (1 + np.exp(-(1.5 + 2 * np.log(score / (1 - score)))))
    np.testing.assert_allclose(calibrated(score, rng.uniform(size=len(score)) < true), true, atol=0.03)


def test_the_optimum_is_reached() -> None:
    """At the minimum of the penalised loss its gradient is 0: with a = b's deviation, sum(p - y) = -a."""
    score, right = np.array([0.2, 0.4, 0.6, 0.8]), np.array([False, True, False, True])
    found = calibrated(score, right)
    logit = np.log(found / (1 - found))
    slope = (logit[3] - logit[0]) / (np.log(4) * 2)  # the logits of .8 and .2 are log 4 and -log 4
    intercept = (logit[3] + logit[0]) / 2
    assert np.sum(found - right) + intercept == pytest.approx(0, abs=1e-8)
    assert np.log(score / (1 - score)) @ (found - right) + slope - 1 == pytest.approx(0, abs=1e-8)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40))
def test_calibrated_is_a_probability_for_every_score(cases: list[tuple[float, bool]]) -> None:
    score = np.array([case[0] for case in cases], np.float64)
    found = calibrated(score, np.array([case[1] for case in cases], np.bool_))
    assert ((found >= 0) & (found <= 1)).all()


def test_symmetric_scatter_has_no_excess() -> None:
    distance = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert excess(distance).max() <= 0.5


def test_cases_that_nothing_mirrors_are_in_excess() -> None:
    """k far ones, with one case added to both sides: a share of (k + 1) / (k + 2), and so k / (k + 1) in excess."""
    distance = np.concatenate([np.tile([-1.0, 1.0], 50), [0.0], [9.0] * 4])
    expected = np.where(distance == 9, 4 / 5, 0)
    found = excess(distance)
    np.testing.assert_allclose(found[distance == 9], expected[distance == 9])
    assert found[distance < 9].max() < 0.2


@given(st.lists(st.floats(0, 1), max_size=40))
def test_excess_rises_with_the_distance(cases: list[float]) -> None:
    distance = np.array(cases, np.float64)
    found = excess(distance)
    assert ((found >= 0) & (found < 1)).all()
    assert (np.diff(found[np.argsort(distance, kind="stable")]) >= -1e-12).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_isotonic_by_its_min_max_formula(cases: list[float]) -> None:
    """The i-th value is the greatest, over starts up to i, of the least mean, over ends from i (Robertson 1988)."""
    values = np.array(cases)
    slow = [
        max(min(values[a : b + 1].mean() for b in range(i, len(values))) for a in range(i + 1))
        for i in range(len(values))
    ]
    np.testing.assert_allclose(_isotonic(values, np.ones(len(values))), slow, atol=1e-12)
