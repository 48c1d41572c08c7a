"""The curves: their data is what was given, and the SVG is fit for a page of its own."""

from __future__ import annotations

import re

import numpy as np
import pytest

from boxwright.drawing import class_color
from boxwright.report import curves


def test_running_mean_of_known_series() -> None:
    np.testing.assert_allclose(curves._running_mean(np.full(50, 3.0)), 3)
    y = np.random.default_rng(0).normal(size=200)
    reference = [y[max(0, i - 5) : i + 6].mean() for i in range(200)]  # half width 200 // 40
    np.testing.assert_allclose(curves._running_mean(y), reference)


def test_thin_keeps_the_ends() -> None:
    x = np.arange(1001.0)
    few, same = curves.thin(x, 2 * x)
    assert len(few) == 300
    assert (few[0], few[-1]) == (0, 1000)
    np.testing.assert_array_equal(same, 2 * few)
    assert len(curves.thin(x[:300], x[:300])[0]) == 300


def test_top_leaves_out_first_spikes() -> None:
    assert curves._top([[1.0] * 1000, [500.0]]) < 2
    assert curves._top([[0.0]]) > 0


def test_closed_and_envelope() -> None:
    """Three detections of two targets: right, wrong, right."""
    x, y = curves.closed(np.array([1, 0.5, 2 / 3]), np.array([0.5, 0.5, 1.0]))
    np.testing.assert_allclose(x, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_allclose(y, [1, 1, 0.5, 2 / 3, 0])
    np.testing.assert_allclose(curves.envelope(x, y, np.array([0, 0.5, 0.6, 1.0])), [1, 1, 2 / 3, 2 / 3])
    half, reached = curves.closed(np.array([1.0]), np.array([0.5]))
    np.testing.assert_allclose(curves.envelope(half, reached, np.array([0.5, 0.51])), [1, 0])


def test_a_class_without_detections_has_no_curve() -> None:
    x, y = curves.closed(np.array([]), np.array([]))
    assert len(x) == len(y) == 0
    np.testing.assert_array_equal(curves.envelope(x, y, np.linspace(0, 1, 3)), 0)


@pytest.mark.parametrize("label", range(30))
def test_lines_show_on_light_and_on_dark(label: int) -> None:
    value = curves.line_color(label)
    light = np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)]) @ (0.299, 0.587, 0.114)
    assert 93 <= light <= 167


def test_line_color_of_a_middling_class_is_its_own() -> None:
    assert curves.line_color(2) == "#{:02x}{:02x}{:02x}".format(*class_color(2))


def test_a_running_mean_lies_over_the_pale_line_and_both_have_the_terms_color() -> None:
    steps = [float(i) for i in range(40)]
    svg = curves.series_svg({"box": (steps, steps), "val_box": (steps, steps)}, "step", "loss", smooth=True)
    color = curves.line_color(0)
    lines = re.findall(r'<path d="[^"]*L[^"]*" fill="none" stroke="([^"]*)" stroke-width="([^"]*)"([^/]*)/>', svg)
    assert [(stroke, width) for stroke, width, _ in lines] == [(color, "0.8"), (color, "1.8")] * 2
    assert ["stroke-dasharray" in rest for *_, rest in lines] == [False, False, False, True]
    assert ["stroke-opacity" in rest for *_, rest in lines] == [True, False, True, False]
    assert re.findall(r">([^<>]+)</text>", svg)[:2] == ["box", "val_box"]


def test_a_single_epoch_is_a_dot() -> None:
    assert "<circle" in curves.series_svg({"AP": ([1.0], [0.5])}, "epoch", "AP")
