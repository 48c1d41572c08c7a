"""What the data says of a detector: shares by score, and what lies farther than scatter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.hardest.calibration import calibrated, evidence_ratio, excess, explain


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


def test_normal_scatter_has_no_excess() -> None:
    distance = np.random.default_rng(0).normal(0.4, 0.05, 2000)
    assert (excess(distance) > 0.5).mean() < 0.001


def test_gross_errors_among_scatter_are_found_in_their_number() -> None:
    rng = np.random.default_rng(0)
    distance = np.concatenate([rng.normal(0.4, 0.05, 1900), rng.uniform(0.4, 1, 100)])
    found = excess(distance)
    assert found.sum() == pytest.approx(100, abs=25)  # those within the scatter are not seen
    assert (found[1900:] > 0.5).mean() > 0.6
    assert (found[:1900] > 0.5).mean() < 0.002


def test_a_single_gross_error_is_enough() -> None:
    found = excess(np.array([0.19, 0.2, 0.2, 0.21, 0.9]))
    assert found[4] > 0.99
    assert found[:4].max() < 0.5


def test_excess_is_the_share_that_it_adds_up_to() -> None:
    """Bayes' rule with the share of errors, by hand: errors uniform beyond the median, scatter normal about it."""
    distance = np.random.default_rng(1).uniform(0, 1, 50)
    found = excess(distance)
    share, middle = (found.sum() + 1) / 52, np.median(distance)
    spread = np.sqrt(np.mean([(d - middle) ** 2 for d in distance if d <= middle]))
    for d, probability in zip(distance, found, strict=True):
        error = share / (1 - middle) if d > middle else 0.0
        scatter = (1 - share) * np.exp(-((d - middle) ** 2) / (2 * spread**2)) / np.sqrt(2 * np.pi * spread**2)
        assert probability == pytest.approx(error / (error + scatter), abs=1e-4)


@given(st.lists(st.floats(0, 1), max_size=40))
def test_excess_rises_with_the_distance(cases: list[float]) -> None:
    distance = np.array(cases, np.float64)
    found = excess(distance)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(distance, kind="stable")]) >= -1e-12).all()


def test_evidence_is_the_ratio_of_the_odds() -> None:
    """.8 is 4 to 1, .2 is 1 to 4, and .5 says nothing where half of the detections are right."""
    found = evidence_ratio(np.array([0.8, 0.5, 0.2]), np.array([0.2, 0.5, 0.2]))
    np.testing.assert_allclose(found, [16, 1, 1])


def test_how_common_an_explanation_is_is_found_from_the_cases() -> None:
    """Evidence of known strength, drawn from three explanations: their shares come back."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 20_000, p=[0.7, 0.2, 0.1])
    value = rng.normal(1.5 * truth, 1)
    ratios = np.exp(-((value - 1.5 * np.arange(3)[:, None]) ** 2) / 2)
    np.testing.assert_allclose(explain(ratios).mean(1), [0.7, 0.2, 0.1], atol=0.02)


def test_evidence_that_leaves_no_doubt_is_followed() -> None:
    ratios = np.array([[1e6, 1e6, 1e6, 1e-6], [1e-6, 1e-6, 1e-6, 1e-6], np.ones(4)])
    np.testing.assert_allclose(explain(ratios)[[0, 0, 0, 2], [0, 1, 2, 3]], 1, atol=1e-4)


def test_nothing_needs_no_explanation() -> None:
    assert explain(np.ones((3, 0))).shape == (3, 0)
