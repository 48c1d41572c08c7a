"""Plots: where points, ticks and gaps lie, and that the SVG is fit for a page of its own."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.report.plot import Axis, Line, plot_svg

UNIT = Axis(0, 1)


def points(svg: str) -> list[np.ndarray]:
    """(n, 2) places of each line's points; a gap starts another."""
    inner = svg[svg.index("style=") :]
    parts = [part for d in re.findall(r'd="([^"]*)"', inner) for part in d.split("M")[1:]]
    return [np.array([[float(v) for v in at.split()] for at in part.split("L")]) for part in parts]


def test_points_lie_where_the_axes_say() -> None:
    svg = plot_svg([Line([0, 0.5, 1], [0, 1, 0.25])], "x", "y", UNIT, UNIT)
    width, height = (float(v) for v in re.findall(r'<svg width="(\d+)" height="(\d+)"', svg)[0])
    (line,) = points(svg)
    np.testing.assert_allclose(line, [[0, height], [width / 2, 0], [width, 0.75 * height]], atol=0.01)


def test_what_cannot_be_shown_is_a_gap() -> None:
    svg = plot_svg([Line([0, 0.2, 0.4, 0.6, 0.8], [0, 1, np.nan, 1, 0])], "x", "y", UNIT, UNIT)
    assert [len(part) for part in points(svg)] == [2, 2]
    assert points(plot_svg([Line([], [])], "x", "y")) == []


@pytest.mark.parametrize(("log", "ratio"), [(True, 1), (False, 10)])
def test_powers_of_ten_are_evenly_spaced_on_a_logarithmic_axis(log: bool, ratio: int) -> None:
    (line,) = points(plot_svg([Line([0, 1, 2], [1.0, 0.1, 0.01])], "x", "y", log=log))
    first, second = np.diff(line[:, 1])
    assert first == pytest.approx(ratio * second, rel=1e-2)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_evenly_spaced_inside_and_told_apart(low: float, extent: float) -> None:
    axis = Axis(low, low + extent)
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 9
    assert len(set(ticks.values())) == len(ticks)
    share = axis.share(list(ticks))
    assert (share > -1e-6).all()
    assert (share < 1 + 1e-6).all()
    steps = [b - a for a, b in pairwise(ticks)]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
    assert f"{steps[0]:.0e}"[0] in "125"
    for value, label in ticks.items():
        assert float(label) == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_ticks_of_a_known_axis() -> None:
    assert list(Axis(0, 1.01).ticks().values()) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert list(Axis(-5, 950).ticks().values()) == ["0", "200", "400", "600", "800"]
    assert list(Axis(-0.5, 0.5, whole=True).ticks().values()) == ["0"]
    assert list(Axis(0.9, 3.1, whole=True).ticks().values()) == ["1", "2", "3"]
    assert list(Axis(0.008, 2, log=True).ticks().values()) == ["0.01", "0.1", "1"]


@pytest.mark.parametrize("values", [[3.0, 3.0], [0.0], [-2.0, -2.0], [np.nan]])
@pytest.mark.parametrize("log", [False, True])
def test_axes_hold_any_values(values: list[float], log: bool) -> None:
    svg = plot_svg([Line(range(len(values)), values)], "x", "y", log=log)
    places = [place for part in points(svg) for place in part.ravel()]
    assert "nan" not in svg
    assert all(0 <= place <= 300 for place in places)


def test_svg_is_well_formed_self_contained_and_names_are_shown_as_written() -> None:
    labels = ["a < b & $c$", "猫", "x" * 30, "_hidden"]
    svg = plot_svg([Line([0, 1], [0, 1], "#123456", dash=(1, 2), label=label) for label in labels], "<x>", '"y"')
    root = ElementTree.fromstring(svg)
    assert [element.text for element in root.iter("text")][: len(labels)] == labels
    assert "http" not in svg
    assert "id=" not in svg
    assert "currentColor" in svg
    assert 'stroke-dasharray="1.8 3.6"' in svg


def test_the_legend_has_rows_that_do_not_leave_the_picture_and_gives_its_room() -> None:
    def height(count: int) -> float:
        svg = plot_svg([Line([0, 1], [0, 1], label="a name of a class")] * count, "x", "y")
        assert max(float(x) for x in re.findall(r'<text x="([\d.]+)" y', svg)) < 346
        return float(re.findall(r'<svg width="\d+" height="(\d+)"', svg)[0])

    assert height(1) == height(2) > height(3) == height(4) > height(5)
    assert height(1) < float(re.findall(r'<svg width="\d+" height="(\d+)"', plot_svg([], "x", "y"))[0])
