from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.evaluate import DetectionColumns, detection_metrics, nms_and_topk, to_detections, to_targets
from boxwright.evaluate.columns import rank_in_runs


def test_detections_from_mappings_objects_and_tensors():
    torch = pytest.importorskip("torch")
    boxes = [[1.0, 2.0, 4.0, 8.0]]
    entries = [
        {"boxes": boxes, "scores": [0.5], "labels": [1]},
        SimpleNamespace(boxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int)),
        SimpleNamespace(
            boxes=torch.tensor(boxes, requires_grad=True), scores=torch.tensor([0.25]), labels=torch.tensor([2])
        ),
    ]
    columns = to_detections(entries)
    np.testing.assert_array_equal(columns.xywh, [[1, 2, 3, 6], [1, 2, 3, 6]])
    np.testing.assert_array_equal(columns.image, [0, 2])
    np.testing.assert_array_equal(columns.label, [1, 2])
    np.testing.assert_array_equal(columns.score, [0.5, 0.25])
    assert columns.xywh.dtype == columns.score.dtype == np.float64
    assert to_detections(columns) is columns


def test_targets_from_mappings():
    entries = [
        {"boxes": [[0, 0, 2, 3]], "labels": [0]},
        {"boxes": [[0, 0, 2, 3]], "labels": [1], "area": [4.0], "crowd": [True], "difficult": [False]},
        {"boxes": [], "labels": []},
    ]
    columns = to_targets(entries)
    np.testing.assert_array_equal(columns.area, [6, 4])
    np.testing.assert_array_equal(columns.crowd, [False, True])
    np.testing.assert_array_equal(columns.image_rank, [0, 1, 2])
    assert to_targets(columns) is columns


def test_nothing_at_all():
    assert len(to_detections([])) == len(to_targets([])) == 0
    table = detection_metrics([], [], ["a"])
    assert np.isnan(list(table.numbers.values())).all()


def test_targets_from_a_data_set():
    dataset = SimpleNamespace(
        offsets=np.array([0, 2, 2, 3]),
        code=np.array([0, 1, 2], np.uint8),
        labels=np.array([0, 1, 1]),
        xywh=np.arange(12.0).reshape(3, 4),
        areas=np.array([1.0, 2.0, 3.0]),
        image_ids=np.array([30, 10, 20]),
    )
    columns = to_targets(dataset)
    np.testing.assert_array_equal(columns.image, [0, 0, 2])
    np.testing.assert_array_equal(columns.crowd, [False, True, False])
    np.testing.assert_array_equal(columns.difficult, [False, False, True])
    np.testing.assert_array_equal(columns.image_rank, [2, 0, 1])


GOOD = {"boxes": [[0, 0, 1, 1]], "scores": [0.5], "labels": [0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[0, 0, 1]]}, r"Expected boxes of shape \(n, 4\) in predictions\[0\] but got \(1, 3\)"),
        ({"scores": [0.5, 0.5]}, r"Expected 1 scores in predictions\[0\], one a box, but got 2"),
        ({"labels": None}, r"Expected labels in predictions\[0\] but got none"),
        ({"labels": [1]}, r"Expected labels of detections in 0\.\.0 but got 1"),
        ({"labels": [-1]}, r"Expected labels of detections in 0\.\.0 but got -1"),
        ({"scores": [np.nan]}, r"Expected finite scores but got nan in image 0"),
        ({"boxes": [[0, 0, np.inf, 1]]}, r"Expected finite boxes but got .* in detections, image 0"),
    ],
)
def test_bad_predictions(change, message):
    with pytest.raises(ValueError, match=message):
        detection_metrics([{**GOOD, **change}], [{"boxes": [[0, 0, 1, 1]], "labels": [0]}], ["a"])


def test_other_images_than_the_data_has():
    target = {"boxes": [], "labels": []}
    with pytest.raises(ValueError, match="Expected predictions of 1 images but got 2"):
        detection_metrics([GOOD, GOOD], [target], ["a"])
    with pytest.raises(ValueError, match="Expected detections of 1 images but got one of image 1"):
        detection_metrics(to_detections([GOOD, GOOD]), [target], ["a"])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_nms_and_topk(rows, count):
    """Against a slow loop: the best of each image, the earlier of equal scores, none below the lowest score."""
    image = np.array([row[0] for row in rows], dtype=np.int64)
    score = np.array([row[1] / 10 for row in rows])
    detections = DetectionColumns(
        image, np.zeros(len(rows), np.int64), score, np.arange(4.0 * len(rows)).reshape(-1, 4)
    )
    expected = []
    for place in range(4):
        mine = [row for row in range(len(rows)) if image[row] == place and score[row] >= 0.1]
        expected += sorted(mine, key=lambda row: (-score[row], row))[:count]
    kept = nms_and_topk(detections, score=0.1, count=count)
    np.testing.assert_array_equal(kept.xywh[:, 0] / 4, sorted(expected))


def test_nms_and_topk_as_results_files_are():
    """The hundred best of an image, from score 0.001."""
    score = np.append(np.linspace(0.9, 0.1, 102), [0.001, 0.0009])
    image = np.append(np.zeros(102, np.int64), [1, 1])
    kept = nms_and_topk(DetectionColumns(image, np.zeros(104, np.int64), score, np.ones((104, 4))))
    np.testing.assert_array_equal(kept.score, score[[*range(100), 102]])


def test_rank_in_runs():
    np.testing.assert_array_equal(rank_in_runs(np.array([7, 7, 7, 2, 2, 9])), [0, 1, 2, 0, 1, 0])
    assert len(rank_in_runs(np.zeros(0, np.int64))) == 0
