"""VOC's averages against a slow reference, and by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from coco_scenes import Scene, make_scene

from boxwright.evaluate import detection_metrics


def iou(box, other):
    x, y, w, h = box
    u, v, s, t = other
    width, height = min(x + w, u + s) - max(x, u), min(y + h, v + t) - max(y, v)
    inside = max(width, 0.0) * max(height, 0.0)
    return inside / (w * h + s * t - inside), inside / (w * h)


def slow_voc(scene: Scene, category: int) -> tuple[float, float]:
    """The development kit's loop, one detection after the other."""
    notes = [note for note in scene.truth["annotations"] if note["category_id"] == category]
    plain = [note for note in notes if not note["iscrowd"]]
    positives = sum(not note["difficult"] for note in plain)
    if positives == 0:
        return math.nan, math.nan
    ranked = [entry for entry in scene.results if entry["category_id"] == category]
    ranked.sort(key=lambda entry: (-entry["score"], entry["image_id"]))
    taken, curve, found, counted = set(), [], 0, 0
    for entry in ranked:
        best, owner = 0.0, None
        for note in plain:
            overlap = iou(entry["bbox"], note["bbox"])[0] if note["image_id"] == entry["image_id"] else 0.0
            if overlap > best:
                best, owner = overlap, note
        if best >= 0.5 and owner["difficult"]:
            continue
        if best >= 0.5 and owner["id"] not in taken:
            taken.add(owner["id"])
            found += 1
        elif any(
            iou(entry["bbox"], note["bbox"])[1] >= 0.5
            for note in notes
            if note["iscrowd"] and note["image_id"] == entry["image_id"]
        ):
            continue
        counted += 1
        curve.append((Fraction(found, positives), Fraction(found, counted)))

    def beyond(recall):
        return max((precision for reached, precision in curve if reached >= recall), default=Fraction(0))

    eleven = sum(beyond(Fraction(tenth, 10)) for tenth in range(11)) / 11
    area = sum(beyond(Fraction(step, positives)) for step in range(1, positives + 1)) / positives
    return float(eleven), float(area)


@pytest.mark.parametrize(("crowd", "difficult"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4), (0.25, 0.25)])
def test_equals_the_slow_loop(crowd, difficult):
    for seed in range(12):
        scene = make_scene(seed, crowd=crowd, difficult=difficult, images=6, targets=8, detections=20)
        table = detection_metrics(*scene.columns(), scene.classes)
        expected = [slow_voc(scene, category["id"]) for category in scene.truth["categories"]]
        found = [(values["voc07"], values["voc_area"]) for values in table.per_class.values()]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        means = np.nanmean(expected, axis=0) if not np.isnan(expected).all() else (np.nan, np.nan)
        np.testing.assert_allclose((table.voc07, table.voc_area), means, rtol=0, atol=1e-12)


def one_image(boxes, scores, targets, **flags):
    labels = [0] * len(targets)
    prediction = {"boxes": np.array(boxes, dtype=float), "scores": scores, "labels": [0] * len(boxes)}
    return detection_metrics([prediction], [{"boxes": np.array(targets, float), "labels": labels, **flags}], ["a"])


def test_a_second_detection_is_false_even_with_a_free_target_beside():
    """VOC holds a detection against its best target only; COCO gives it the next free one."""
    targets = [[0, 0, 10, 10], [0, 2, 10, 12]]
    table = one_image([[0, 0, 10, 10], [0, 0.5, 10, 10.5]], [0.9, 0.8], targets)
    assert table.voc_area == pytest.approx(0.5)
    assert pytest.approx(1) == table.AP50


def test_an_overlap_of_exactly_one_half_is_a_match():
    table = one_image([[0, 0, 10, 5]], [0.9], [[0, 0, 10, 10]])
    assert table.matches.iou[0] == 0.5
    assert table.voc07 == table.voc_area == 1


def test_closed_form_of_both_averages():
    """Three targets; true, false, true: precision 1 up to recall 1/3, 2/3 up to 2/3, then 0."""
    targets = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    boxes = [targets[0], [70, 70, 80, 80], targets[1]]
    table = one_image(boxes, [0.9, 0.8, 0.7], targets)
    assert table.voc_area == pytest.approx((1 + 2 / 3) / 3)
    assert table.voc07 == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)  # recalls 0 .. .3, then .4 .. .6


def test_recalls_are_compared_exactly():
    """Three of ten found: recall .3 counts, though 3 * .1 is above .3 in floating point."""
    targets = [[20 * place, 0, 20 * place + 10, 10] for place in range(10)]
    table = one_image(targets[:3], [0.9, 0.8, 0.7], targets)
    assert table.voc07 == pytest.approx(4 / 11)


def test_difficult_targets_are_neither_credited_nor_penalised():
    targets = [[0, 0, 10, 10], [50, 50, 60, 60]]
    boxes = [targets[0], targets[0], targets[1]]
    table = one_image(boxes, [0.9, 0.8, 0.5], targets, difficult=[True, False])
    assert table.voc07 == table.voc_area == 1
    assert table.per_class["a"]["targets"] == 1


def test_there_is_no_limit_on_detections():
    boxes = [[20 * place, 0, 20 * place + 10, 10] for place in range(150)]
    table = one_image(boxes, np.linspace(0.9, 0.1, 150), boxes)
    assert table.voc_area == 1
    assert pytest.approx(100 / 150) == table.AR100
