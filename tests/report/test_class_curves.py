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
    page = class_curves({f"class {k}": CURVE for k in range(count)}, {}, {"class 0": 0.8})
    assert names(page) == [f"class {k}" for k in range(count)]
    assert "thick line" not in page
    assert "The dots are the scores" in page
    assert page.count("<circle") == 4
    assert page.count("<figure>") == 4


def test_of_many_classes_the_best_and_the_worst_are_named() -> None:
    ap50 = {f"class {k}": (37 * k % 80) / 80 for k in range(80)}
    page = class_curves(dict.fromkeys(ap50, CURVE), ap50, {})
    order = sorted(ap50, key=lambda name: -ap50[name])
    assert names(page) == [*order[:3], *order[-3:]]
    assert "Of the 80 classes the 3 with the best AP50 and the 3 with the worst are named" in page
    assert "The dots" not in page
    assert "<circle" not in page


def test_a_dot_is_where_precision_recall_and_f1_are_at_the_threshold() -> None:
    """Two of three found, one false detection: both 2/3 from .6 up, on axes to 1.01 and 1.03."""
    curve = ([1, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 2 / 3], [0.9, 0.8, 0.6])
    page = class_curves({"cat": curve}, {}, {"cat": 0.6})
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', page)]
    width, height = 346 - 48 - 8, 245 - 8 - 36
    down = height * (1 - 2 / 3 / 1.03)
    across = [width * x / 1.01 for x in (2 / 3, 0.6, 0.6, 0.6)]
    np.testing.assert_allclose(dots, [(x, down) for x in across], atol=0.01)


def test_classes_without_objects_have_no_curve_and_those_without_detections_do() -> None:
    curves: dict[str, ClassCurve] = {
        "nothing found": ([], [], []),
        "nothing there": ([0.0], [np.nan], [0.5]),
        "found": CURVE,
    }
    assert names(class_curves(curves, {}, {"nothing found": 0.3})) == ["nothing found", "found"]
    assert class_curves({"nothing there": curves["nothing there"]}, {}, {}) == ""
    assert class_curves({"nothing found": curves["nothing found"]}, {}, {"nothing found": 0.3}) == ""
    assert class_curves({}, {}, {}) == ""


def test_names_are_escaped() -> None:
    assert names(class_curves({"<b>": CURVE}, {}, {})) == ["&lt;b&gt;"]
