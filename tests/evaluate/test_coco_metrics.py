"""The COCO numbers are pycocotools', whatever the split looks like."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import Scene, assert_equal, make_scene, reference

from boxwright.evaluate import AREAS, detection_metrics, match_detections, overlaps
from boxwright.evaluate.coco import _needed

KINDS = {
    "plain": {},
    "crowds": {"crowd": 0.6, "difficult": 0.1},
    "difficult": {"crowd": 0.1, "difficult": 0.4},
    "one class, many ties": {"classes": 1, "detections": 40, "scores": 2},
    "many classes": {"classes": 9, "targets": 10},
    "large": {"step": 12.0, "targets": 8},
    "no detections": {"detections": 0},
    "no targets": {"targets": 0},
}


def metrics(scene: Scene):
    return detection_metrics(*scene.columns(), scene.classes)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_pycocotools(kind):
    for seed in range(28):
        scene = make_scene(seed, **KINDS[kind])
        assert_equal(metrics(scene), reference(scene))


def test_scenes_hold_what_they_promise():
    """The fuzz above means something only if every rule comes into play in it."""
    seen = dict.fromkeys(("crowd twice", "difficult", "at threshold", "ignored by area", "no target of class"), 0)
    for seed in range(28):
        scene = make_scene(seed, difficult=0.3)
        table = metrics(scene).matches
        crowd, target = table.targets.crowd, table.target[:, 0]
        taken, counts = np.unique(target[target >= 0], return_counts=True)
        seen["crowd twice"] += int((counts[crowd[taken]] > 1).sum())
        seen["difficult"] += int(table.targets.difficult[taken].sum())
        seen["at threshold"] += int(np.isin(table.iou, [0.5, 0.75, 0.6, 0.8]).sum())
        seen["ignored by area"] += int((table.ignored[:, 0, 1] & (target < 0)).sum())
        seen["no target of class"] += int((table.positives[:, 0] == 0).sum())
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("seed", range(6))
def test_match_table_row_by_row(seed):
    scene = make_scene(seed, crowd=0.3)
    detections, targets = scene.columns()
    table = match_detections(detections, targets, len(scene.classes))
    places = {(int(row)): place for place, row in enumerate(table.detection)}
    note_row = {note["id"]: row for row, note in enumerate(scene.truth["annotations"])}
    areas = [list(bounds) for bounds in AREAS.values()]
    for entry in filter(None, reference(scene).evalImgs):
        area = areas.index([float(bound) for bound in entry["aRng"]])
        for column, detection in enumerate(entry["dtIds"]):
            place = places[detection - 1]  # loadRes numbers the results from 1 in the order given
            taken, ignored = entry["dtMatches"][:, column], entry["dtIgnore"][:, column]
            np.testing.assert_array_equal(table.true_positive[place, :, area], (taken > 0) & ~ignored)
            np.testing.assert_array_equal(table.ignored[place, :, area], ignored)
            assert table.rank[place] == column
            if area == 0:
                expected = [note_row[int(note)] if note else -1 for note in taken]
                np.testing.assert_array_equal(table.target[place], expected)


def test_more_than_a_hundred_detections():
    random = np.random.default_rng(0)
    scene = make_scene(1, images=2, classes=2, targets=20, detections=0)
    for _ in range(700):
        note = scene.truth["annotations"][random.integers(len(scene.truth["annotations"]))]
        box = (np.array(note["bbox"]) + random.integers(0, 3, 4)).tolist()
        entry = {"image_id": note["image_id"], "category_id": note["category_id"], "bbox": box}
        scene.results.append({**entry, "score": float(random.random())})
    table = metrics(scene)
    assert table.matches.rank.max() > 100
    assert not table.matches.true_positive[table.matches.rank >= 100].any()
    assert_equal(table, reference(scene))


@pytest.mark.parametrize("threshold", [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
def test_overlap_exactly_at_a_threshold(threshold):
    """A detection of width 20 t inside a target of width 20 overlaps it by t, up to rounding."""
    note = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [3.0, 5.0, 20.0, 10.0], "area": 200.0, "iscrowd": 0}
    truth = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}], "annotations": [note]}
    result = {"image_id": 1, "category_id": 1, "bbox": [3.0, 5.0, 20 * threshold, 10.0], "score": 0.5}
    scene = Scene(truth, [result])
    assert_equal(metrics(scene), reference(scene))
    assert metrics(scene).AP > 0


@pytest.mark.parametrize("area", [32.0**2, 96.0**2, 1e10, 1e10 + 1, 32.0**2 - 0.01, 0.0])
def test_area_at_the_bounds(area):
    """Bounds belong to both ranges: a target of 32 x 32 px is small and medium."""
    side = area**0.5
    box = [0.0, 0.0, side, side] if area else [0.0, 0.0, 10.0, 10.0]
    note = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": area, "iscrowd": 0}
    truth = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}], "annotations": [note]}
    off = {"image_id": 1, "category_id": 1, "bbox": [5.0, 0.0, side, side], "score": 0.9}
    scene = Scene(truth, [{**off, "bbox": box, "score": 0.5}, off])
    assert_equal(metrics(scene), reference(scene))


def test_an_image_with_a_crowd_alone():
    note = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 50.0, 50.0], "area": 900.0, "iscrowd": 1}
    truth = {"images": [{"id": 1}, {"id": 2}], "categories": [{"id": 1, "name": "a"}], "annotations": [note]}
    inside = [{"image_id": 1, "category_id": 1, "bbox": [5.0 * k, 0.0, 10.0, 10.0], "score": 0.9} for k in range(3)]
    scene = Scene(truth, inside)
    table = metrics(scene)
    assert np.isnan(table.AP)  # nothing was there to find
    assert table.matches.ignored[:, :, 0].all()  # a crowd takes any number of detections
    assert_equal(table, reference(scene))

    truth["annotations"].append({**note, "id": 2, "image_id": 2, "bbox": [0.0, 0.0, 9.0, 9.0], "iscrowd": 0})
    scene.results.append({"image_id": 2, "category_id": 1, "bbox": [0.0, 0.0, 9.0, 9.0], "score": 0.1})
    assert pytest.approx(1) == metrics(scene).AP  # three higher scores in the crowd cost nothing
    assert_equal(metrics(scene), reference(scene))


def test_detections_on_images_without_targets_are_false():
    note = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 50.0, 50.0], "area": 2500.0, "iscrowd": 0}
    truth = {"images": [{"id": 1}, {"id": 2}], "categories": [{"id": 1, "name": "a"}], "annotations": [note]}
    hit = {"image_id": 1, "category_id": 1, "bbox": note["bbox"], "score": 0.5}
    scene = Scene(truth, [hit, {**hit, "image_id": 2, "score": 0.9}])
    assert pytest.approx(0.5) == metrics(scene).AP50
    assert_equal(metrics(scene), reference(scene))


def test_difficult_targets_take_one_detection_each():
    """The first detection of a difficult target is left out; a second one is false."""
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    target = {"boxes": boxes, "labels": [0, 0], "difficult": [True, False]}
    once = {"boxes": boxes, "labels": [0, 0], "scores": [0.9, 0.5]}
    twice = {"boxes": boxes[[0, 0, 1]], "labels": [0, 0, 0], "scores": [0.9, 0.8, 0.5]}
    assert pytest.approx(1) == detection_metrics([once], [target], ["a"]).AP
    assert pytest.approx(0.5) == detection_metrics([twice], [target], ["a"]).AP


def test_a_single_threshold_and_other_limits():
    scene = make_scene(3, targets=10, detections=60)
    evaluator = reference(scene)
    table = detection_metrics(*scene.columns(), scene.classes, iou_thresholds=[0.75])
    assert pytest.approx(evaluator.stats[2], abs=1e-9) == table.AP
    assert table.AP75 == table.AP
    assert np.isnan(table.AP50)
    fewer = detection_metrics(*scene.columns(), scene.classes, max_detections=(1, 2, 10))
    assert pytest.approx(evaluator.stats[7], abs=1e-9) == fewer.AR100


def test_threshold_one_is_reached_up_to_rounding():
    """An overlap of 1 - 1e-11 counts as 1, one of 1 - 1e-9 doesn't."""
    target = {"boxes": [[0, 0, 10, 10]], "labels": [0]}
    for short, expected in ((1e-11, 1.0), (1e-9, 0.0)):
        found = {"boxes": [[0, 0, 10, 10 * (1 - short)]], "labels": [0], "scores": [0.01]}
        table = detection_metrics([found], [target], ["a"], iou_thresholds=[1.0])
        assert table.numbers["AP"] == pytest.approx(expected)


def test_the_detection_after_the_last_allowed_matches_nothing():
    target = {"boxes": [[0, 0, 10, 10]], "labels": [0]}
    boxes = np.tile([50.0, 50, 60, 60], (101, 1))
    boxes[100] = target["boxes"][0]
    found = {"boxes": boxes, "labels": [0] * 101, "scores": np.linspace(0.9, 0.01, 101)}
    table = detection_metrics([found], [target], ["a"])
    assert not table.matches.true_positive.any()
    assert table.numbers["AR100"] == 0
    assert table.matches.target.max() == -1


def test_true_positives_needed_for_each_recall():
    """In float64, j / n >= r is decided by the rounded quotient, as pycocotools searches it."""
    for count in range(1, 1500):
        expected = np.searchsorted(np.arange(count + 1) / count, np.linspace(0, 1, 101))
        np.testing.assert_array_equal(_needed(np.array([count]))[0], expected)


def test_chunks_of_pairs_do_not_matter(monkeypatch):
    scene = make_scene(5, targets=15, detections=60)
    expected = metrics(scene)
    monkeypatch.setattr(overlaps, "_PAIRS_AT_ONCE", 7)
    found = metrics(scene)
    np.testing.assert_array_equal(list(found.numbers.values()), list(expected.numbers.values()))
    np.testing.assert_array_equal(found.matches.nearest, expected.matches.nearest)
