"""Validations that end with a given AP, whatever was found."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from boxwright.evaluate import MetricsTable, detection_metrics
from boxwright.training import callbacks


def make_up_ap(monkeypatch: pytest.MonkeyPatch, aps: Iterator[float]) -> None:
    """Let each validation end with the next AP; all else is measured."""

    def measured(*arguments: Any) -> MetricsTable:
        return replace(detection_metrics(*arguments), AP=next(aps), AP50=0.0, AP75=0.0)

    monkeypatch.setattr(callbacks, "detection_metrics", measured)
