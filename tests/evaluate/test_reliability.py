"""Calibration error of made-up scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import make_scene

from boxwright.evaluate import MetricsTable, detection_metrics, reliability

BOX = [[10.0, 10.0, 50.0, 50.0]]
AWAY = [[200.0, 200.0, 250.0, 250.0]]


def scored(scores: np.ndarray, right: np.ndarray) -> MetricsTable:
    """An image a detection, right or not."""
    targets = [{"boxes": BOX, "labels": [0]} for _ in scores]
    pairs = zip(scores.tolist(), right.tolist(), strict=True)
    predictions = [{"boxes": BOX if hit else AWAY, "labels": [0], "scores": [score]} for score, hit in pairs]
    return detection_metrics(predictions, targets, ["a"])


def test_by_hand():
    """Bins .6-.7 (two of three right at a mean of .65) and .9-1 (one of two at .95): (3 x .0167 + 2 x .45) / 5."""
    table = scored(np.array([0.6, 0.65, 0.7 - 1e-9, 0.92, 0.98, 0.01]), np.array([1, 1, 0, 1, 0, 0], bool))
    found = reliability(table.matches)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 0, 3, 0, 0, 2]
    assert found.precision[[6, 9]] == pytest.approx([2 / 3, 1 / 2])
    assert found.score[[6, 9]] == pytest.approx([0.65, 0.95])
    assert found.ece == pytest.approx((3 * (2 / 3 - 0.65) + 2 * 0.45) / 5)
    assert found.to_json()["bins"]["score"][0] is None


def test_honest_scores_and_boastful_ones():
    random = np.random.default_rng(0)
    chance = random.uniform(0.05, 1, 3000)
    right = random.random(3000) < chance
    honest, boastful = reliability(scored(chance, right).matches), reliability(scored(np.sqrt(chance), right).matches)
    assert honest.ece < 0.035  # 300 detections a bin: .02 by chance
    expected = np.mean(np.sqrt(chance) - chance)
    assert boastful.ece == pytest.approx(expected, abs=0.02)
    assert boastful.interval.low < expected < boastful.interval.high
    assert boastful.interval.reach < 0.025


@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(seed):
    scene = make_scene(seed, images=6, crowd=0.3)
    table = detection_metrics(*scene.columns(), scene.classes).matches
    total, parts = 0, [[] for _ in range(10)]
    for row in range(len(table.score)):
        if table.ignored[row, 0, 0] or table.score[row] < 0.05:
            continue
        total += 1
        gap = table.score[row] - float(table.true_positive[row, 0, 0])
        parts[min(int(table.score[row] * 10), 9)].append(gap)
    assert reliability(table).ece == pytest.approx(sum(abs(sum(part)) for part in parts) / total)


def test_without_detections_there_is_none():
    table = detection_metrics(
        [{"boxes": [], "labels": [], "scores": []}] * 2, [{"boxes": BOX, "labels": [0]}] * 2, ["a"]
    )
    found = reliability(table.matches)
    assert np.isnan([found.ece, *found.interval]).all()
    assert found.to_json()["ece"] is None
