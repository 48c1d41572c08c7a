from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from coco_scenes import Scene, assert_equal, make_scene, reference
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.evaluate import detection_metrics, match_detections

COCO_KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
KEYS = [*COCO_KEYS, "voc07", "voc_area", "per_class", "errors", "intervals", "calibration"]

BOXES = st.tuples(*[st.integers(0, 6).map(float)] * 2, *[st.integers(0, 4).map(float)] * 2).map(list)


def metrics(seed: int, **options):
    scene = make_scene(seed, **options)
    return detection_metrics(*scene.columns(), scene.classes)


@given(
    st.lists(st.tuples(st.integers(1, 2), BOXES, st.booleans()), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 2), BOXES, st.integers(0, 3)), max_size=8),
)
@settings(deadline=None, max_examples=80)
def test_degenerate_boxes_change_nothing(notes, results):
    """Boxes without width or height, on either side: still pycocotools' numbers."""
    truth = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": row + 1, "image_id": image, "category_id": 1, "bbox": box, "area": 9.0, "iscrowd": int(crowd)}
            for row, (image, box, crowd) in enumerate(notes)
        ],
    }
    entries = [{"image_id": image, "category_id": 1, "bbox": box, "score": score / 3} for image, box, score in results]
    scene = Scene(truth, entries)
    assert_equal(detection_metrics(*scene.columns(), ["a"]), reference(scene))


def test_json_has_the_promised_keys_and_no_nan():
    table = metrics(0, step=1.0)
    assert np.isnan(table.APl)
    data = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert list(data) == KEYS
    assert data["APl"] is None
    assert list(data["per_class"]["class 2"]) == ["AP", "AP50", "AP75", "AR100", "voc07", "voc_area", "targets"]
    assert set(table.protocols) == set(KEYS[:-4])
    assert isinstance(data["per_class"]["class 2"]["targets"], int)


def test_precision_and_recall_by_hand():
    """True, false, ignored (in a crowd), true, of three targets."""
    targets = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [100, 100, 200, 200]]
    boxes = [targets[0], [70, 0, 80, 10], [120, 120, 130, 130], targets[1]]
    prediction = {"boxes": boxes, "scores": [0.9, 0.8, 0.7, 0.6], "labels": [0] * 4}
    target = {"boxes": targets, "labels": [0] * 4, "crowd": [False, False, False, True]}
    table = detection_metrics([prediction], [target], ["a", "b"])
    precision, recall, score = table.precision_recall("a", 0.75)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(score, [0.9, 0.8, 0.6])
    assert table.operating_point("a") == pytest.approx((0.6, 2 / 3, 2 / 3, 2 / 3))
    assert np.isnan(table.operating_point("b")).all()
    with pytest.raises(ValueError, match="Expected one of the classes a, b but got 'c'"):
        table.precision_recall("c")
    with pytest.raises(ValueError, match=r"Expected an IoU of .* but got 0\.3"):
        table.precision_recall("a", 0.3)


@pytest.mark.parametrize("seed", range(5))
def test_operating_point_is_reached_by_its_threshold(seed):
    """Cut at every score and count anew: no cut has a better F1, and the point's own cut has the F1 it says."""
    scene = make_scene(seed, crowd=0.0, classes=1, detections=30, scores=6)
    detections, targets = scene.columns()
    point = detection_metrics(detections, targets, scene.classes).operating_point(scene.classes[0])
    cuts = {}
    for cut in np.unique(detections.score):
        table = match_detections(detections.take(detections.score >= cut), targets, 1, iou_thresholds=[0.5])
        hits = int(table.true_positive[:, 0, 0].sum())
        cuts[cut] = 2 * hits / (len(table.score) + int(table.positives[0, 0]))
    assert point.f1 == pytest.approx(max(cuts.values()))
    assert point.f1 == pytest.approx(cuts[point.score])


def one(scores, boxes=((0, 0, 10, 10),), targets=((0, 0, 10, 10),)):
    prediction = {"boxes": np.array(boxes, float), "scores": scores, "labels": [0] * len(boxes)}
    return detection_metrics([prediction], [{"boxes": np.array(targets, float), "labels": [0] * len(targets)}], ["a"])


def test_warnings():
    assert one([0.05]).warnings == ()
    assert one([0.3]).warnings[0].startswith("Scores start at 0.3: detections below it are missing, which cuts AP")
    assert "look like fractions" in one([0.01], [[0.1, 0.1, 0.5, 0.5]]).warnings[0]
    assert one([0.01, 0.02], [[0, 0, 10, 10], [5, 5, 5, 9]]).warnings[0].startswith("1 detections have no area")
    assert one([], ()).warnings == ("No detections: every number is 0.",)
    assert one([0.01], targets=()).warnings == ("No targets: no number is defined.",)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.5, 87.5, 12.0], r"2 scores lie outside 0\.\.1, first 87\.5 of detection 1 .*: they look like percentages"),
        ([-3.25, 0.5, 4.0], r"2 scores lie outside 0\.\.1, first -3\.25 of detection 0 .*: they look like logits"),
        ([0.5, 0.5, 1000.0], "1 scores lie outside .* of detection 2 .*: they look like something else"),
    ],
)
def test_scores_outside_their_range_are_named(scores, message):
    (warning,) = one(scores, [[0, 0, 10, 10]] * 3).warnings
    assert re.match(message, warning)
    ranks = np.argsort(np.argsort(scores)) / 3
    assert one(scores, [[0, 0, 10, 10]] * 3).AP == one(ranks, [[0, 0, 10, 10]] * 3).AP


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(value):
    with pytest.raises(ValueError, match=r"Expected finite scores but got .* in image 0"):
        one([value])
    with pytest.raises(ValueError, match=r"Expected finite boxes but got .* in detections, image 0"):
        one([0.5], [[0, 0, value, 10]])
    with pytest.raises(ValueError, match=r"Expected finite boxes but got .* in targets, image 0"):
        one([0.5], targets=[[0, 0, value, 10]])


@pytest.mark.parametrize("labels", [[0.5], [np.nan], [np.inf], np.array([1.5], np.float32)])
def test_labels_are_whole_numbers_of_any_type(labels):
    box = np.array([[0, 0, 10, 10]], float)
    target = [{"boxes": box, "labels": [1]}]
    with pytest.raises(ValueError, match=r"Expected whole numbers for labels in predictions\[0\] but got"):
        detection_metrics([{"boxes": box, "scores": [0.9], "labels": labels}], target, ["a", "b"])
    for dtype in (np.uint8, np.int32, np.float64):
        found = [{"boxes": box, "scores": [0.9], "labels": np.array([1], dtype)}]
        assert detection_metrics(found, target, ["a", "b"]).numbers["AP"] == pytest.approx(1)


def test_what_can_not_be_asked_for():
    with pytest.raises(ValueError, match="different names"):
        detection_metrics([], [], ["a", "a"])
    with pytest.raises(ValueError, match="Expected three positive max_detections"):
        detection_metrics([], [], ["a"], max_detections=(0, 1, 2))
    with pytest.raises(ValueError, match=r"Expected IoU thresholds in \(0, 1\] but got \(0.0,\)"):
        detection_metrics([], [], ["a"], iou_thresholds=[0])


def test_torch_is_not_imported():
    code = "import sys, boxwright.evaluate, boxwright.cli.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
