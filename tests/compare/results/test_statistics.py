"""Differences between arms: closed forms, and how often verdicts are wrong and right on simulated arms."""

from __future__ import annotations

from math import isnan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.compare.plan.detectable import Noise, detectable_difference
from boxwright.compare.results.statistics import ONE_SEED, Difference, compare_arms, compare_scores
from boxwright.evaluate import MatchTable, detection_metrics
from boxwright.evaluate.bootstrap import draw_images

IMAGES = 87


def simulate(
    random: np.random.Generator, arms: int, seeds: int, *, gain: float = 0.0, noise: list[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (A + 1, S), and the same on drawn images, of arms that are equal but for the first's gain.

    A score is the mean over images of a part that all runs share, one of the arm and one of the run, plus the run's
    noise by seed: standard deviations .012, .0017, .003 and .006, the last times each arm's ``noise``.
    """
    of_seed = 0.006 * random.standard_normal((arms + 1, seeds)) * np.array(noise or [1.0] * (arms + 1))[:, None]
    of_seed[1] += gain
    of_image = 0.012 * random.standard_normal(IMAGES)
    of_image = of_image + 0.0017 * random.standard_normal((arms + 1, 1, IMAGES))
    of_image = sqrt(IMAGES) * (of_image + 0.003 * random.standard_normal((arms + 1, seeds, IMAGES)))
    draws = draw_images(IMAGES, 200, seed=int(random.integers(1 << 30)))
    return of_seed + of_image.mean(axis=-1), of_seed[..., None] + of_image @ draws.T / IMAGES


def is_told(difference: Difference) -> bool:
    return difference.verdict != "no detectable difference"


def without_images(scores: Any) -> np.ndarray:
    """The bootstrap of scores in which all images are alike."""
    return np.repeat(np.asarray(scores, dtype=np.float64)[..., None], 10, axis=-1)


@pytest.mark.parametrize(("seeds", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])
def test_one_arm_without_image_noise_is_the_paired_t_test(seeds: int, quantile: float) -> None:
    """mean +- t(.975; S - 1) sd / sqrt(S) of the S differences."""
    scores = np.random.default_rng(seeds).normal(0.5, 0.01, (2, seeds))
    away = scores[1] - scores[0]
    (found,) = compare_scores(scores, without_images(scores), IMAGES)
    assert found.mean == pytest.approx(away.mean())
    assert found.seed_error == pytest.approx(away.std(ddof=1) / sqrt(seeds))
    assert (found.high - found.mean) / found.seed_error == pytest.approx(quantile, rel=0.08)
    assert found.image_error == 0


def test_several_arms_without_image_noise_are_dunnetts_test() -> None:
    """Three arms and three seeds, 6 degrees of freedom: 3.10 standard errors in Dunnett's table, sqrt(2 v / S) each."""
    residual = np.array([[1, -1, 0], [-1, 1, 0], [1, 0, -1], [-1, 0, 1]]) / 100
    scores = residual + np.array([[0.5], [0.51], [0.55], [0.44]]) + np.array([0.1, 0.0, -0.1])
    found = compare_scores(scores, without_images(scores), IMAGES)
    pooled = (residual**2).sum() / 6
    third = found[2]  # its own differences are no noisier than the pooled ones
    own = np.var(residual[3] - residual[0], ddof=1) / 2
    assert found[1].seed_error == pytest.approx(sqrt(2 * pooled / 3))
    assert third.seed_error == pytest.approx(sqrt(2 * max(own, pooled) / 3))
    assert (found[1].high - found[1].mean) / found[1].seed_error == pytest.approx(3.10, rel=0.04)


def test_image_noise_alone() -> None:
    """Runs of an arm that are all alike: mean +- t(.975; 86) sd of the bootstrap, 1.988."""
    random = np.random.default_rng(0)
    drawn = np.repeat(random.normal(0.5, 0.01, (2, 1, 4000)), 3, axis=1)
    scores = np.array([[0.5] * 3, [0.54] * 3])
    (found,) = compare_scores(scores, drawn, IMAGES)
    assert found.image_error == pytest.approx((drawn[1, 0] - drawn[0, 0]).std(ddof=1) * sqrt(87 / 86))
    assert (found.high - found.mean) / found.image_error == pytest.approx(1.988, rel=0.03)
    assert found.seed_error == pytest.approx(0, abs=1e-12)
    assert found.verdict == "better"


def test_image_noise_of_single_runs_is_not_counted_twice() -> None:
    """The residual over seeds has it already: only what seeds share is the images'."""
    random = np.random.default_rng(0)
    shared, alone = random.normal(0, 0.003, (2, 1, 20_000)), random.normal(0, 0.02, (2, 4, 20_000))
    (found,) = compare_scores(np.full((2, 4), 0.5), shared + alone, 10_000)
    assert found.image_error == pytest.approx(0.003 * sqrt(2), rel=0.1)


def test_one_seed_tells_nothing_and_says_so() -> None:
    random = np.random.default_rng(0)
    (found,) = compare_scores(np.array([[0.3], [0.9]]), random.normal(0, 0.01, (2, 1, 500)), IMAGES)
    assert found.mean == pytest.approx(0.6)
    assert found.verdict == "no detectable difference"
    assert isnan(found.low)
    assert isnan(found.high)
    assert isnan(found.p)
    assert found.image_error == pytest.approx(0.014, rel=0.1)
    assert found.note == ONE_SEED


def test_equal_runs_are_no_difference() -> None:
    scores = np.full((3, 3), 0.5)
    for found in compare_scores(scores, without_images(scores), IMAGES):
        assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
        assert not is_told(found)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 4), st.sampled_from([0.0, 0.02, -0.04]))
def test_verdict_interval_and_p_agree(seed: int, arms: int, seeds: int, gain: float) -> None:
    random = np.random.default_rng(seed)
    scores, drawn = simulate(random, arms, seeds, gain=gain)
    for found in compare_scores(scores, drawn, IMAGES):
        assert found.low <= found.mean <= found.high
        assert (found.verdict == "better") == (found.low > 0)
        assert (found.verdict == "worse") == (found.high < 0)
        assert abs(found.p - 0.05) < 1e-4 or is_told(found) == (found.p < 0.05)


def test_a_noisy_arm_has_its_own_noise() -> None:
    scores = np.array([[0.5, 0.5, 0.5], [0.5, 0.51, 0.49], [0.54, 0.44, 0.52]])
    quiet, noisy = compare_scores(scores, without_images(scores), IMAGES)
    assert noisy.seed_error == pytest.approx((scores[2] - scores[0]).std(ddof=1) / sqrt(3))
    assert quiet.seed_error < noisy.seed_error


def test_more_arms_widen_the_intervals() -> None:
    scores, drawn = simulate(np.random.default_rng(0), 8, 6)
    wide = compare_scores(scores, drawn, IMAGES)
    noise = wide[0].seed_error
    narrow = compare_scores(scores[:3], drawn[:3], IMAGES)
    reach = [
        (found[0].high - found[0].mean) / np.hypot(found[0].seed_error, found[0].image_error)
        for found in (narrow, wide)
    ]
    assert noise > 0
    assert reach[0] < reach[1]


def wrong(arms: int, seeds: int, count: int, **options: Any) -> int:
    """Comparisons of equal arms in which any is told apart."""
    random = np.random.default_rng([arms, seeds])
    return sum(
        any(map(is_told, compare_scores(*simulate(random, arms, seeds, **options), IMAGES))) for _ in range(count)
    )


def right(arms: int, seeds: int, count: int, gain: float) -> int:
    """Comparisons in which an arm that is better by ``gain`` is found to be."""
    random = np.random.default_rng([arms, seeds])
    found = (compare_scores(*simulate(random, arms, seeds, gain=gain), IMAGES)[0] for _ in range(count))
    return sum(difference.verdict == "better" for difference in found)


def test_wrong_and_right_verdicts_of_three_arms_and_seeds() -> None:
    assert wrong(3, 3, 200) <= 0.096 * 200  # three standard errors above 5 %
    assert right(3, 3, 100, 0.04) >= 90


@pytest.mark.slow
def test_wrong_verdicts_are_at_most_five_in_a_hundred() -> None:
    """Of equal arms, over all numbers of arms and seeds together, and in none of them far above."""
    count, cells = 200, [(arms, seeds) for arms in (1, 2, 4, 6) for seeds in (2, 3, 5)]
    counts = [wrong(*cell, count) for cell in cells]
    assert 0.005 < sum(counts) / (count * len(cells)) <= 0.05
    assert max(counts) <= 0.096 * count  # three standard errors above 5 %


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 5])
def test_wrong_verdicts_with_one_noisy_arm(seeds: int) -> None:
    assert wrong(4, seeds, 200, noise=[1, 2.5, 1, 1, 1]) <= 0.096 * 200


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "seeds"), [(1, 3), (3, 3), (6, 5), (1, 7)])
def test_the_detectable_difference_is_found_in_four_of_five(arms: int, seeds: int) -> None:
    gain = detectable_difference(seeds, IMAGES, arms, Noise(sqrt(0.006**2 + 0.003**2), 0.0017 * sqrt(2), ""))
    assert right(arms, seeds, 300, gain) / 300 == pytest.approx(0.8, abs=0.07)


def tables(shift: float, seeds: int, images: int = 12) -> list[MatchTable]:
    """Runs on the same targets whose boxes lie beside them by ``shift`` pixels and some noise."""
    truth = np.random.default_rng(0)
    low = truth.uniform(0, 200, (images, 3, 2))
    boxes = np.concatenate([low, low + truth.uniform(30, 60, (images, 3, 2))], axis=-1)
    targets = [{"boxes": entry, "labels": [0, 0, 1]} for entry in boxes]
    found = []
    for seed in range(seeds):
        random = np.random.default_rng(seed + 1)
        moved = boxes + shift + random.normal(0, 1.0, boxes.shape)
        predictions = [{"boxes": entry, "labels": [0, 0, 1], "scores": random.random(3)} for entry in moved]
        found.append(detection_metrics(predictions, targets, ["a", "b"]).matches)
    return found


def test_compare_arms_on_match_tables() -> None:
    found = compare_arms(tables(4.0, 3), {"near": tables(0.0, 3), "far": tables(9.0, 3), "same": tables(4.0, 3)})
    assert list(found) == ["near", "far", "same"]
    assert [difference.verdict for difference in found.values()] == ["better", "worse", "no detectable difference"]
    assert found["same"].mean == 0
    assert found["near"].seeds == 3
    assert found == compare_arms(
        tables(4.0, 3), {"near": tables(0.0, 3), "far": tables(9.0, 3), "same": tables(4.0, 3)}
    )


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"as many seeds in each arm, one or more, but got \[2, 1\]"):
        compare_arms(tables(0.0, 2), {"a": tables(0.0, 1)})
    with pytest.raises(ValueError, match="one or more"):
        compare_arms([], {"a": []})
    with pytest.raises(ValueError, match=r"the same images but got some of \[9, 12\] images"):
        compare_arms(tables(0.0, 2), {"a": tables(0.0, 2, images=9)})
    with pytest.raises(ValueError, match="finite scores"):
        compare_scores(np.full((2, 2), np.nan), np.zeros((2, 2, 10)), 5)
    with pytest.raises(ValueError, match="at least 2 images and draws with targets but got 1 and 10"):
        compare_scores(np.zeros((2, 2)), np.zeros((2, 2, 10)), 1)
