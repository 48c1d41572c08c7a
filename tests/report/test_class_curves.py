"""Curves of each class: their values, and which classes are named."""

from __future__ import annotations

import re

import numpy as np
import pytest

from boxwright.report.class_curves import _THRESHOLDS, at_thresholds, class_curves
from boxwright.report.content import ClassCurve

CURVE: ClassCurve = ([1, 0.5], [0.5, 0.5], [0.9, 0.8])


def names(page: str) -> list[str]:
    return re.findall(r"</svg>([^<]*)</li>", page)


def test_values_at_thresholds_by_hand() -> None:
    """Of two targets, right at .9 and .6, wrong at .8; two of one score can't be parted."""
    precision, recall, score = np.array([1, 1 / 2, 2 / 3]), np.array([0.5, 0.5, 1]), np.array([0.9, 0.8, 0.6])
    values = at_thresholds(precision, recall, score)
    at = {t: values[:, np.flatnonzero(np.isclose(_THRESHOLDS, t))[0]] for t in (0, 0.6, 0.605, 0.9, 0.905)}
    np.testing.assert_allclose(at[0], [2 / 3, 1, 0.8])
    np.testing.assert_allclose(at[0.6], [2 / 3, 1, 0.8])
    np.testing.assert_allclose(at[0.605], [1 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(at[0.9], [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(at[0.905], [np.nan, 0, 0])
    tied = at_thresholds(precision, recall, np.array([0.9, 0.9, 0.6]))
    np.testing.assert_allclose(tied[0, np.isclose(_THRESHOLDS, 0.9)], 1 / 2)


def test_without_a_right_detection_f1_is_0() -> None:
    values = at_thresholds(np.zeros(1), np.zeros(1), np.array([0.5]))
    assert values[2].max() == 0
    assert np.isnan(at_thresholds(*np.zeros((3, 0)))[0]).all()


@pytest.mark.parametrize("count", [1, 10])
def test_a_few_classes_are_all_named(count: int) -> None:
    page = class_curves({f"class {k}": CURVE for k in range(count)}, {}, 0.3)
    assert names(page) == [f"class {k}" for k in range(count)]
    assert "thick line" not in page
    assert "The upright line is the score 0.3" in page
    assert page.count("<figure>") == 4


def test_of_many_classes_the_best_and_the_worst_are_named() -> None:
    ap50 = {f"class {k}": (37 * k % 80) / 80 for k in range(80)}
    page = class_curves(dict.fromkeys(ap50, CURVE), ap50, None)
    order = sorted(ap50, key=lambda name: -ap50[name])
    assert names(page) == [*order[:3], *order[-3:]]
    assert "Of the 80 classes the 3 with the best AP50 and the 3 with the worst are named" in page
    assert "upright line" not in page


def test_classes_without_objects_have_no_curve_and_those_without_detections_do() -> None:
    curves: dict[str, ClassCurve] = {"nothing found": ([], [], []), "nothing there": ([0.0], [np.nan], [0.5])}
    assert names(class_curves(curves, {}, None)) == ["nothing found"]
    assert class_curves({"nothing there": curves["nothing there"]}, {}, None) == ""
    assert class_curves({}, {}, None) == ""


def test_names_are_escaped() -> None:
    assert names(class_curves({"<b>": CURVE}, {}, None)) == ["&lt;b&gt;"]
