"""What a report says of each image."""

from __future__ import annotations

import numpy as np

from boxwright.assess import _by_image, _errors, _note
from boxwright.evaluate import ERROR_TYPES, detection_metrics, error_types


def metrics():
    """The first image has everything, the second is right, the third empty."""
    predictions = [
        {
            "boxes": [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 4], [40, 0, 50, 10], [90, 0, 99, 9], [60, 0, 70, 10]],
            "scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.1],
            "labels": [0, 0, 0, 0, 0, 0],
        },
        {"boxes": [[0, 0, 10, 10]], "scores": [0.4], "labels": [1]},
        {},
    ]
    targets = [
        {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], "labels": [0, 0, 1, 0]},
        {"boxes": [[0, 0, 10, 10]], "labels": [1]},
        {},
    ]
    return detection_metrics(predictions, targets, ["cat", "dog"])


def by_image(score: float):
    table = metrics().matches
    return _by_image(table, error_types(table, score=score), 3)


def test_mistakes_by_image_are_those_from_the_shown_score() -> None:
    mistakes, hits = by_image(0.3)
    assert dict(zip(ERROR_TYPES, mistakes[0].tolist(), strict=True)) == {
        "classification": 1, "localisation": 1, "both": 0, "duplicate": 1, "background": 1, "missed": 1,
    }  # fmt: skip
    assert mistakes[1:].sum() == 0
    assert hits.tolist() == [1, 1, 0]
    assert by_image(0.05)[0][0].sum() == 4
    assert by_image(0.45)[1].tolist() == [1, 0, 0]


def test_notes() -> None:
    assert _note(np.array([0, 2, 0, 0, 1, 3])) == "2 localisation, 1 background, 3 missed"
    assert _note(np.zeros(6, np.int64)) == "all right"


def test_counts_of_all_and_of_the_shown() -> None:
    found = metrics()
    rows = _errors(found, error_types(found.matches, score=0.3))
    assert (rows["missed"].count, rows["missed"].shown) == (0, 1)
    assert (rows["false_positive"].count, rows["false_positive"].shown) == (4, 4)
    assert rows["classification"].dap > 0
