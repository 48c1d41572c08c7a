"""Slices against evaluations of their images alone, and rules that make them."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import make_scene
from found_or_not import BOX, found_or_not

from boxwright.evaluate import detection_metrics, slice_metrics


@pytest.mark.parametrize("seed", range(3))
def test_a_slice_is_the_evaluation_of_its_images(seed):
    scene = make_scene(seed, images=9, step=1.0, scores=10_000)
    detections, targets = scene.columns()
    table = detection_metrics(detections, targets, scene.classes)
    groups = ["day", "night", "day", "dusk", "night", "day", "dusk", "day", "night"]
    found = slice_metrics(table, groups, resamples=100)
    assert list(found) == ["day", "dusk", "night"]
    corners = np.concatenate([targets.xywh[:, :2], targets.xywh[:, :2] + targets.xywh[:, 2:]], axis=1)
    for name, each in found.items():
        predictions, truths = [], []
        for image in (place for place, group in enumerate(groups) if group == name):
            mine, own = detections.take(detections.image == image), targets.image == image
            predictions.append({"boxes": mine.xyxy(), "labels": mine.label, "scores": mine.score})
            flags = {key: getattr(targets, key)[own] for key in ("area", "crowd", "difficult")}
            truths.append({"boxes": corners[own], "labels": targets.label[own], **flags})
        alone = detection_metrics(predictions, truths, scene.classes)
        assert (each.images, each.AP) == (len(truths), pytest.approx(alone.AP, abs=1e-12, nan_ok=True))
        for label, row in each.per_class.items():
            expected = (alone.per_class[label]["AP"], alone.per_class[label]["targets"])
            assert (row["AP"], row["targets"]) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    for label, row in table.per_class.items():
        assert sum(each.per_class[label]["targets"] for each in found.values()) == row["targets"]


def test_a_slice_that_is_worse_is_told_from_the_rest():
    """At night 20 of 60 are found, else 50 of 60 each; two shares of other images, whose variances add."""
    found = np.concatenate([np.arange(60) < count for count in (50, 50, 20)])
    slices = slice_metrics(found_or_not(found), ["day"] * 60 + ["dusk"] * 60 + ["night"] * 60)
    night = slices["night"].difference
    assert night.value == pytest.approx(-0.5, abs=0.01)
    error = np.sqrt(1 / 3 * 2 / 3 / 60 + 5 / 6 * 1 / 6 / 120)
    assert night.high - night.value == pytest.approx(1.97 * error, rel=0.1)
    assert night.verdict == "worse"
    assert slices["day"].difference.verdict == "better"
    alike = slice_metrics(found_or_not(np.tile([True, False], 60)), [f"{place % 3}" for place in range(120)])
    assert {each.difference.verdict for each in alike.values()} == {"no detectable difference"}


def test_a_slice_without_targets_has_no_number():
    targets = [{"boxes": BOX, "labels": [0]}] * 6 + [{"boxes": [], "labels": []}] * 2
    predictions = [{"boxes": BOX, "labels": [0], "scores": [0.9]}] * 8
    found = slice_metrics(detection_metrics(predictions, targets, ["a"]), ["some"] * 6 + ["none"] * 2)
    assert np.isnan([found["none"].AP, *found["none"].interval, found["none"].difference.low]).all()
    assert found["none"].to_json()["AP"] is None
    assert found["some"].AP == 1.0


def test_what_makes_no_slices_is_refused():
    table = found_or_not(np.ones(60, bool))
    with pytest.raises(ValueError, match="a group for each of 60 images but got 2"):
        slice_metrics(table, ["a", "b"])
    with pytest.raises(ValueError, match="2 to 50 slices but got 60"):
        slice_metrics(table, [str(place) for place in range(60)])
    with pytest.raises(ValueError, match="2 to 50 slices but got 1"):
        slice_metrics(table, ["a"] * 60)
