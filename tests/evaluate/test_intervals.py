"""Intervals of AP against closed forms, and what they promise, by simulation."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from found_or_not import BOX, NONE, found_or_not

from boxwright.evaluate import MetricsTable, detection_metrics, score_intervals
from boxwright.evaluate.intervals import Interval, images_of_classes, t_chance, t_quantile, unit_interval


@pytest.mark.parametrize(("freedom", "value"), [(5, 2.571), (10, 2.228), (30, 2.042), (1e9, 1.960)])
def test_quantiles_of_students_t(freedom, value):
    assert t_quantile(0.975, freedom) == pytest.approx(value, rel=0.01)
    assert t_chance(t_quantile(0.975, freedom), freedom) == pytest.approx(0.05, abs=1e-6)
    assert t_chance(-value, freedom) == pytest.approx(0.05, abs=0.001)


def test_a_share_found_has_the_error_of_a_binomial_share():
    images, share = 80, 0.6
    table = found_or_not(np.arange(images) < images * share)
    center = (images * share + 0.5) / (images + 1)
    error = sqrt(share * (1 - share) / (images - 1) + center * (1 - center) / images**2)
    reach = 1.99 * error / (share * (1 - share))
    ends = [1 / (1 + np.exp(-(log(share / (1 - share)) + side * reach))) for side in (-1, 1)]
    assert table.intervals["AP"] == pytest.approx(ends, abs=0.012)
    for metric, interval in table.intervals.items():
        assert table.class_intervals["a"][metric] == pytest.approx(interval, abs=1e-12)


def test_few_images_on_which_all_goes_well_promise_little():
    five = found_or_not(np.ones(5, bool)).intervals["AP"]
    assert five.high == 1.0
    assert 0.2 < five.low < 0.7
    assert found_or_not(np.ones(50, bool)).intervals["AP"].low > 0.9
    assert found_or_not(np.zeros(50, bool)).intervals["AP"].low == 0.0
    assert np.isnan(found_or_not(np.ones(1, bool)).intervals["AP"]).all()


def test_a_class_of_one_image_has_an_interval_that_says_next_to_nothing():
    targets = [{"boxes": BOX, "labels": [place == 0]} for place in range(40)]
    predictions = [{**target, "scores": [0.9]} for target in targets]
    table = detection_metrics(predictions, targets, ["often", "once", "never"])
    assert images_of_classes(table.matches).tolist() == [39, 1, 0]
    low, high = table.class_intervals["once"]["AP"]
    assert low < 0.2 < 0.99 < high
    assert table.class_intervals["often"]["AP"].low > 0.9
    assert np.isnan(table.class_intervals["never"]["AP"]).all()
    assert table.intervals["AP"].low < 0.8  # the mean is as uncertain as half of the rare class


def test_ends_stay_in_reach_and_hold_the_score():
    for score in (0.0, 0.003, 0.5, 1.0):
        low, high = unit_interval(score, 0.4, 10, 10)
        assert 0 <= low <= score <= high <= 1
    assert unit_interval(0.5, 0.0, 10, 10) == Interval(0.5, 0.5)


def test_the_seed_and_the_level_are_kept():
    table = found_or_not(np.arange(30) % 3 > 0).matches
    assert score_intervals(table, seed=4) == score_intervals(table, seed=4)
    assert score_intervals(table, seed=4) != score_intervals(table, seed=5)
    wide, narrow = (score_intervals(table, level=level)["AP50"].overall.reach for level in (0.99, 0.8))
    assert wide > 1.5 * narrow


def test_json_has_them_beside_the_scalars():
    table = found_or_not(np.arange(30) % 3 > 0)
    content = table.to_json()
    assert content["AP"] == table.AP
    assert content["intervals"]["AP75"] == list(table.intervals["AP75"])
    assert content["intervals"]["per_class"]["a"]["AP"] == list(table.class_intervals["a"]["AP"])
    assert found_or_not(np.ones(1, bool)).to_json()["intervals"]["AP"] == [None, None]


def test_an_iou_that_was_not_asked_for_has_no_interval():
    targets = [{"boxes": BOX, "labels": [0]}] * 3
    table = detection_metrics([NONE] * 3, targets, ["a"], iou_thresholds=(0.5, 0.6))
    assert list(table.intervals) == ["AP", "AP50"]


@pytest.mark.slow
def test_an_interval_of_fifty_images_keeps_its_promise():
    """Images with an ease of their own, three objects each; the truth from 10,000 of them."""

    def split(images: int, seed: int) -> MetricsTable:
        random = np.random.default_rng(seed)
        ease = random.normal(0.5, 1, images)
        predictions, targets = [], []
        for each in ease.tolist():
            boxes = np.array([[100.0 * place, 0, 100.0 * place + 50, 50] for place in range(3)])
            quality = each + random.normal(0, 1, 3)
            shifted = boxes + [[0, 0, 8, 8]] * random.exponential(1, (3, 1))
            false = random.poisson(np.exp(-each))
            apart = np.tile([[-90.0, -90, -50, -50]], (false, 1))
            scores = np.concatenate([quality, random.normal(-1, 1, false)])
            targets.append({"boxes": boxes, "labels": [0, 0, 0]})
            predictions.append({"boxes": np.vstack([shifted, apart]), "labels": [0] * len(scores), "scores": scores})
        return detection_metrics(predictions, targets, ["a"])

    truth = split(10_000, 0).AP
    trials = 100
    held = [low <= truth <= high for low, high in (split(50, 1 + trial).intervals["AP"] for trial in range(trials))]
    assert np.mean(held) >= 0.9  # .95, less 2.3 standard errors
    assert np.mean(held) < 1
