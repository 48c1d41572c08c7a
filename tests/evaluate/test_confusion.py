from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import make_scene

from boxwright.evaluate import confusion_matrix, detection_metrics, error_types, match_detections


def by_hand():
    """Two cats, two dogs and a crowd of dogs."""
    targets = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10], [100, 0, 200, 100]]
    boxes = [
        [0, 0, 10, 10],  # .9 cat: right
        [40, 0, 50, 9],  # .8 cat on a dog
        [40, 0, 50, 10],  # .7 cat on the same dog, which is taken: background
        [20, 0, 30, 4],  # .6 cat, IoU .4 with a cat: background, and that cat isn't detected
        [120, 20, 130, 30],  # .5 dog in the crowd: left out
        [60, 0, 70, 10],  # .4 dog: right
    ]
    prediction = {"boxes": boxes, "scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "labels": [0, 0, 0, 0, 1, 1]}
    target = {"boxes": targets, "labels": [0, 0, 1, 1, 1], "crowd": [False] * 4 + [True]}
    return detection_metrics([prediction], [target], ["cat", "dog"]).matches


def test_by_hand():
    assert confusion_matrix(by_hand(), 0.0).tolist() == [[1, 0, 1], [1, 1, 0], [2, 0, 0]]
    assert confusion_matrix(by_hand(), 0.45).tolist() == [[1, 0, 1], [1, 0, 1], [2, 0, 0]]
    assert confusion_matrix(by_hand(), 0.95).tolist() == [[0, 0, 2], [0, 0, 2], [0, 0, 0]]
    assert confusion_matrix(by_hand(), 0.0, iou=0.95).tolist() == [[1, 0, 1], [1, 1, 0], [2, 0, 0]]
    with pytest.raises(ValueError, match=r"Expected an IoU of .* but got 0\.3"):
        confusion_matrix(by_hand(), 0.0, iou=0.3)


def test_of_two_the_better_overlap_is_taken():
    targets = {"boxes": [[0, 0, 10, 8], [0, 0, 10, 10]], "labels": [1, 2]}
    prediction = {"boxes": [[0, 0, 10, 10]], "scores": [0.9], "labels": [0]}
    table = detection_metrics([prediction], [targets], ["a", "b", "c"]).matches
    assert confusion_matrix(table, 0.0).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("score", [0.0, 0.5])
def test_sums(seed, score):
    """Rows sum up to the targets, columns to the detections that count, the diagonal to those that are right."""
    scene = make_scene(seed, crowd=0.2, difficult=0.2)
    table = match_detections(*scene.columns(), len(scene.classes))
    matrix = confusion_matrix(table, score)
    shown = (table.score >= score) & ~table.ignored[:, 0, 0]
    right = shown & table.true_positive[:, 0, 0]
    np.testing.assert_array_equal(matrix[:-1].sum(axis=1), table.positives[:, 0])
    np.testing.assert_array_equal(matrix[:, :-1].sum(axis=0), np.bincount(table.label[shown], minlength=3))
    np.testing.assert_array_equal(np.diag(matrix)[:-1], np.bincount(table.label[right], minlength=3))


@pytest.mark.parametrize("seed", range(8))
def test_errors_and_matrix_count_the_same_false_and_not_found(seed):
    """Each class from a score of its own: what is wrong by the one is off the diagonal of the other."""
    scene = make_scene(seed, crowd=0.2, difficult=0.2)
    table = match_detections(*scene.columns(), len(scene.classes))
    least = np.array([0.2, 0.5, 0.8])
    matrix, errors = confusion_matrix(table, least), error_types(table, score=least)
    off = matrix - np.diag(np.diag(matrix))
    assert off[:, :-1].sum() == (errors.kind >= 0).sum() > 0
    assert off[:-1].sum() == table.not_found(0.5, least).sum() > 0


def test_a_score_for_each_class():
    assert confusion_matrix(by_hand(), np.array([0.85, 0.0])).tolist() == [[1, 0, 1], [0, 1, 1], [0, 0, 0]]


def test_nothing_at_all():
    assert confusion_matrix(detection_metrics([], [], ["a"]).matches, 0.0).tolist() == [[0, 0], [0, 0]]
