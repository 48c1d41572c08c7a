"""Splits whose AP is known by heart."""

from __future__ import annotations

import numpy as np

from boxwright.evaluate import MetricsTable, detection_metrics

BOX = [[10.0, 10.0, 50.0, 50.0]]
NONE: dict[str, list[float]] = {"boxes": [], "labels": [], "scores": []}


def found_or_not(found: np.ndarray) -> MetricsTable:
    """One target an image, which is found exactly, or not at all; nothing is wrong, so that AP is the share found."""
    targets = [{"boxes": BOX, "labels": [0]} for _ in found]
    right = {"boxes": BOX, "labels": [0], "scores": [0.9]}
    return detection_metrics([right if hit else NONE for hit in found], targets, ["a"])
