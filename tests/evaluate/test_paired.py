"""Differences between detectors on the same images: against real evaluations of the drawn images, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import make_scene
from found_or_not import BOX, NONE, found_or_not
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.evaluate import DetectionColumns, MetricsTable, compare_tables, detection_metrics
from boxwright.evaluate.bootstrap import draw_images
from boxwright.evaluate.error_types import error_costs, error_types
from boxwright.evaluate.paired import holm


def scene_tables(seed: int, images: int = 8) -> tuple[MetricsTable, MetricsTable]:
    """A made-up split, and the same with other detections left out."""
    scene = make_scene(seed, images=images, step=1.0, scores=10_000)
    detections, targets = scene.columns()
    kept = np.random.default_rng(seed).random(len(detections)) < 0.7
    return tuple(detection_metrics(each, targets, scene.classes) for each in (detections, detections.take(kept)))  # type: ignore[return-value]


def test_a_model_against_itself_is_exactly_nothing():
    first, _ = scene_tables(3)
    found = compare_tables({"a": first, "again": first})["again"]
    for rows in (found.overall, found.by_class, found.by_size, found.by_error):
        assert rows
        for row in rows.values():
            assert np.isnan(row.value) or (row.value, row.low, row.high) == (0, 0, 0) or np.isnan(row.low)
            assert row.verdict == "no detectable difference"
    assert (found.overall["AP"].low, found.overall["AP"].high) == (0, 0)
    assert found.images == ()


def test_differences_are_those_of_the_tables():
    first, second = scene_tables(5)
    found = compare_tables({"a": first, "b": second})["b"]
    for name, row in (found.overall | found.by_size).items():
        assert row.value == pytest.approx(second.numbers[name] - first.numbers[name], abs=1e-12, nan_ok=True)
    for name, row in found.by_class.items():
        mine, other = first.per_class[name]["AP"], second.per_class[name]["AP"]
        assert row.value == pytest.approx(other - mine, abs=1e-12, nan_ok=True)
    for name, row in found.by_error.items():
        assert row.value == pytest.approx(second.errors[name].dap - first.errors[name].dap, abs=1e-12)


def test_a_share_found_differs_as_paired_shares_do():
    """Of 200 images both find 120, the first alone 10, the second alone 40: McNemar's variance."""
    first = np.arange(200) < 130
    second = (np.arange(200) < 120) | (np.arange(200) >= 160)
    row = compare_tables({"a": found_or_not(first), "b": found_or_not(second)})["b"].overall["AP50"]
    error = np.sqrt(((10 + 40) / 200 - 0.15**2) / 199)
    assert row.value == pytest.approx(0.15, abs=0.005)
    assert [row.low, row.high] == pytest.approx([0.15 - 1.972 * error, 0.15 + 1.972 * error], abs=0.01)
    assert row.verdict == "better"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_costs_of_errors_on_drawn_images_are_those_of_their_evaluation(seed: int):
    from boxwright.evaluate.paired import _drawn_costs

    scene = make_scene(seed, images=5, step=1.0, scores=100_000)
    detections, targets = scene.columns()
    unlike = DetectionColumns(
        detections.image, detections.label, np.random.default_rng(seed).random(len(detections)), detections.xywh
    )
    table = detection_metrics(unlike, targets, scene.classes).matches
    draws = draw_images(5, 3, seed=seed)
    found = _drawn_costs(table, draws)
    for place, draw in enumerate(draws):
        repeated = _repeat(unlike, targets, draw, scene.classes).matches
        for kind, cost in error_costs(repeated, error_types(repeated)).items():
            assert found[kind][place] == pytest.approx(cost.dap, abs=1e-12, nan_ok=True), kind


def _repeat(detections, targets, draw, classes) -> MetricsTable:
    """The evaluation in which drawn images really are repeated."""
    predictions, truths = [], []
    corners = np.concatenate([targets.xywh[:, :2], targets.xywh[:, :2] + targets.xywh[:, 2:]], axis=1)
    for image in np.repeat(np.arange(len(draw)), draw).tolist():
        mine, own = detections.take(detections.image == image), targets.image == image
        predictions.append({"boxes": mine.xyxy(), "labels": mine.label, "scores": mine.score})
        flags = {name: getattr(targets, name)[own] for name in ("area", "crowd", "difficult")}
        truths.append({"boxes": corners[own], "labels": targets.label[own], **flags})
    return detection_metrics(predictions, truths, classes)


def test_the_images_that_decide_are_those_with_the_largest_part():
    first, second = scene_tables(11, images=12)
    found = compare_tables({"a": first, "b": second}, deciding=3)["b"]
    whole = second.AP - first.AP
    parts = []
    for image in range(12):
        draw = np.ones(12, np.int64)
        draw[image] = 0
        left = []
        for table in (first, second):
            matches = table.matches
            columns = DetectionColumns(matches.image, matches.label, matches.score, matches.xywh)
            left.append(_repeat(columns, matches.targets, draw, table.classes).AP)
        parts.append(whole - 11 / 12 * (left[1] - left[0]))
    heaviest = np.argsort(-np.abs(parts))[:3]
    assert [each.image for each in found.images] == heaviest.tolist()
    assert [each.part for each in found.images] == pytest.approx(np.array(parts)[heaviest].tolist(), abs=1e-9)


def test_holm_by_hand():
    corrected = holm(np.array([0.03, 0.01, np.nan, 0.02, 0.9]))
    np.testing.assert_allclose(corrected, [0.06, 0.04, np.nan, 0.06, 0.9])


def test_many_equal_rivals_make_a_verdict_harder():
    first = np.arange(100) < 50
    better = first | (np.arange(100) >= 93)
    alone = compare_tables({"a": found_or_not(first), "b": found_or_not(better)})["b"].overall["AP"]
    assert alone.verdict == "better"
    rivals = {f"same {place}": found_or_not(first) for place in range(9)}
    among = compare_tables({"a": found_or_not(first), "b": found_or_not(better), **rivals})["b"].overall["AP"]
    assert (among.low, among.high) == (alone.low, alone.high)
    assert among.p == pytest.approx(10 * alone.p)


@pytest.mark.slow
def test_equal_detectors_are_seldom_told_apart():
    """Both find each object with the same chance, by image: a false verdict comes up in 5 % of cases."""
    random = np.random.default_rng(0)
    verdicts = []
    for _ in range(120):
        ease = random.beta(2, 1, 60)
        tables = {name: found_or_not(random.random(60) < ease) for name in "ab"}
        verdicts.append(compare_tables(tables, resamples=200)["b"].overall["AP50"].verdict)
    assert 0.01 <= np.mean([said != "no detectable difference" for said in verdicts]) <= 0.09


def test_what_can_not_be_paired_is_refused():
    table = found_or_not(np.ones(3, bool))
    with pytest.raises(ValueError, match="two tables or more"):
        compare_tables({"a": table})
    with pytest.raises(ValueError, match="a and b to be measured on the same images"):
        compare_tables({"a": table, "b": found_or_not(np.ones(4, bool))})
    other = detection_metrics([NONE] * 3, [{"boxes": BOX, "labels": [0]}] * 3, ["b"])
    with pytest.raises(ValueError, match="same classes"):
        compare_tables({"a": table, "b": other})
