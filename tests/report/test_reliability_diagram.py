from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from boxwright.report.reliability import reliability_diagram


def bins(*counts: int) -> SimpleNamespace:
    count = np.array(counts)
    share = np.where(count > 0, np.linspace(0.1, 0.9, len(counts)), np.nan)
    return SimpleNamespace(score=share, precision=share**2, count=count)


def test_a_point_for_each_bin_that_has_detections():
    page = reliability_diagram(bins(5, 0, 3, 2), "so & so")
    assert page.count("<figure>") == 1
    assert "so &amp; so" in page
    assert page.count("<circle") == 3


def test_nothing_is_drawn_of_nothing():
    assert reliability_diagram(bins(0, 0), "so") == ""
