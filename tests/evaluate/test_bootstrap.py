"""Scores of drawn images: those of an evaluation in which the drawn images really are repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.evaluate import AREAS, MetricsTable, bootstrap, detection_metrics
from boxwright.evaluate.bootstrap import bootstrap_precision, bootstrap_scores, draw_images
from boxwright.evaluate.coco import coco_scores

CLASSES = ["a", "b", "c"]
Entries = list[dict[str, Any]]


def split(seed: int) -> tuple[Entries, Entries]:
    """Predictions and targets with crowds, difficult and missed objects, and images without any."""
    random = np.random.default_rng(seed)
    predictions, targets = [], []
    for _ in range(6):
        count = 0 if random.random() < 0.2 else int(random.integers(1, 7))
        low = random.uniform(0, 200, (count, 2))
        boxes = np.column_stack([low, low + random.uniform(10, 120, (count, 2))])
        labels = random.choice(3, count, p=[0.7, 0.2, 0.1])
        flags = {name: random.random(count) < 0.1 for name in ("crowd", "difficult")}
        targets.append({"boxes": boxes, "labels": labels, **flags})
        near = random.integers(0, count, 12 if count else 0)
        shifted = boxes[near] + random.normal(0, 6, (len(near), 4))
        shifted[:, 2:] = np.maximum(shifted[:, 2:], shifted[:, :2] + 1)
        predictions.append({"boxes": shifted, "labels": labels[near], "scores": random.random(len(near))})
    return predictions, targets


def metrics(predictions: Entries, targets: Entries) -> MetricsTable:
    return detection_metrics(predictions, targets, CLASSES)


def repeated(entries: Entries, counts: np.ndarray) -> Entries:
    return [entry for entry, count in zip(entries, counts, strict=True) for _ in range(count)]


@pytest.mark.parametrize("metric", ["AP", "AP50", "AP75"])
@pytest.mark.parametrize("seed", range(5))
def test_every_image_once_is_the_tables_own_score(seed: int, metric: Any) -> None:
    table = metrics(*split(seed))
    (score,) = bootstrap_scores(table.matches, np.ones((1, 6), np.int64), metric)
    assert score == pytest.approx(getattr(table, metric), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_images_really_repeated(seed: int, counts: list[int]) -> None:
    predictions, targets = split(seed)
    draws = np.array([counts])
    drawn = metrics(repeated(predictions, draws[0]), repeated(targets, draws[0]))
    matches = metrics(predictions, targets).matches
    for metric in ("AP", "AP50", "AP75"):
        (score,) = bootstrap_scores(matches, draws, metric)
        assert score == pytest.approx(getattr(drawn, metric), abs=1e-12, nan_ok=True)
    expected = coco_scores(drawn.matches, (100,)).precision
    for place, area in enumerate(AREAS):
        (precision,) = bootstrap_precision(matches, draws, area)
        np.testing.assert_allclose(precision, expected[..., place], rtol=0, atol=1e-12)


def test_draws_are_independent_of_each_other_and_of_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = metrics(*split(1)).matches
    draws = draw_images(6, 50, seed=3)
    whole = bootstrap_scores(matches, draws)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 100)
    np.testing.assert_array_equal(bootstrap_scores(matches, draws), whole)
    assert bootstrap_scores(matches, draws[7:8])[0] == whole[7]


def test_targets_without_detections_score_nothing() -> None:
    _, targets = split(0)
    nothing = [{"boxes": [], "labels": [], "scores": []} for _ in targets]
    assert bootstrap_scores(metrics(nothing, targets).matches, np.ones((2, 6), np.int64)).tolist() == [0.0, 0.0]


def test_draws_without_targets_are_not_defined() -> None:
    predictions, targets = split(0)
    targets[2] = {"boxes": [], "labels": []}
    matches = metrics(predictions, targets).matches
    only = np.zeros((1, 6), np.int64)
    only[0, 2] = 6
    assert np.isnan(bootstrap_scores(matches, only)).all()


def test_more_detections_than_an_image_may_have() -> None:
    """Of 120 false ones in an image the best hundred count: found after them, the one target has precision 1 / 101."""
    box, elsewhere = [[0.0, 0.0, 10.0, 10.0]], [[50.0, 50.0, 60.0, 60.0]] * 120
    targets = [{"boxes": [], "labels": []}, {"boxes": box, "labels": [0]}]
    predictions = [
        {"boxes": elsewhere, "labels": [0] * 120, "scores": np.linspace(1, 0.5, 120)},
        {"boxes": box, "labels": [0], "scores": [0.1]},
    ]
    scores = bootstrap_scores(metrics(predictions, targets).matches, np.array([[1, 1], [2, 1]]))
    assert scores.tolist() == pytest.approx([1 / 101, 1 / 201], abs=1e-12)


def test_draw_images_draws_as_many_as_there_are() -> None:
    draws = draw_images(8, 2000)
    assert (draws.sum(axis=1) == 8).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(8), abs=0.1)
    assert draws.var() == pytest.approx(7 / 8, abs=0.05)  # binomial: n p (1 - p)
    assert (draws == draw_images(8, 2000)).all()
    assert (draws != draw_images(8, 2000, seed=1)).any()


def test_what_does_not_fit_is_refused() -> None:
    matches = metrics(*split(0)).matches
    with pytest.raises(ValueError, match=r"draws of shape \(R, 6\) but got \(1, 5\)"):
        bootstrap_scores(matches, np.ones((1, 5), np.int64))
    with pytest.raises(ValueError, match="one of AP, AP50, AP75 but got 'AR'"):
        bootstrap_scores(matches, np.ones((1, 6), np.int64), "AR")  # type: ignore[arg-type]
    fewer = detection_metrics(*split(0), CLASSES, iou_thresholds=(0.5, 0.6)).matches
    with pytest.raises(ValueError, match=r"Expected an IoU of \(0\.5, 0\.6\) but got 0\.75"):
        bootstrap_scores(fewer, np.ones((1, 6), np.int64), "AP75")
