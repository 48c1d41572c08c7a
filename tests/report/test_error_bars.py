from __future__ import annotations

import re

from boxwright.evaluate import detection_metrics
from boxwright.report import ErrorRow
from boxwright.report.errors import errors


def test_bars_are_as_long_as_the_greatest_loss() -> None:
    page = errors({"background": ErrorRow(0.2, 1234), "false_positive": ErrorRow(0.4, 2000)})
    assert re.findall(r"width:([\d.]+)%", page) == ["50.0", "100.0"]
    for word in ("1,234", "2,000", "false positive", "nothing is there", ">0.200<"):
        assert word in page


def test_without_targets_there_are_no_bars() -> None:
    assert "width:" not in errors({"both": ErrorRow(float("nan"), 3)})
    assert errors({}) == ""


def test_every_kind_of_the_evaluation_has_a_meaning() -> None:
    costs = detection_metrics([{}], [{}], ["a"]).errors
    assert errors({name: ErrorRow(0.1, 1) for name in costs}).count("<small>") == len(costs) == 8
