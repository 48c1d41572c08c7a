"""Defaults that papers and the interface fix: a changed one changes every recipe that is silent about it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from boxwright import coding, losses, matching, mining, nms

DEFAULTS: dict[Any, dict[str, Any]] = {
    matching.match_iou: {"positive": 0.5, "negative": 0.5, "strict": False, "force": "bipartite", "ignore_ioa": 0.5},
    matching.match_atss: {"top": 9, "ignore_ioa": 0.5},
    matching.match_points: {"reach": 8.0, "radius": None, "ignore_ioa": 0.5},
    matching.match_task_aligned: {"top": 13, "alpha": 1.0, "beta": 6.0, "ignore_ioa": 0.5},
    mining.hard_negatives: {"ratio": 3.0, "scope": "image", "min_negatives": 0, "cutoff": "count"},
    mining.hard_examples: {"count": None},
    mining.ohem: {"boxes": None, "nms_iou": 0.7},
    mining.random_balanced: {"count": 256, "positive_fraction": 0.5},
    losses.cross_entropy: {"label_smoothing": 0.0, "weight": None},
    losses.binary_cross_entropy: {"label_smoothing": 0.0, "weight": None},
    losses.sigmoid_focal_loss: {"alpha": 0.25, "gamma": 2.0},
    losses.softmax_focal_loss: {"alpha": None, "gamma": 2.0},
    losses.quality_focal_loss: {"beta": 2.0},
    losses.varifocal_loss: {"alpha": 0.75, "gamma": 2.0},
    losses.ghm_loss: {"bins": 30, "momentum": 0.0},
    losses.poly_loss: {"epsilon": 1.0},
    losses.seesaw_loss: {"p": 0.8, "q": 2.0},
    losses.smooth_l1_loss: {"beta": 1.0},
    losses.balanced_l1_loss: {"alpha": 0.5, "gamma": 1.5, "beta": 1.0},
    losses.focal_l1_loss: {"beta": 0.8},
    losses.iou_loss: {"mode": "linear"},
    losses.ciou_loss: {"variant": "aaai", "gradient": "exact"},
    losses.focal_eiou_loss: {"gamma": 0.5, "detach": True},
    losses.siou_loss: {"theta": 4.0},
    losses.alpha_iou_loss: {"alpha": 3.0, "kind": "iou"},
    losses.inner_iou_loss: {"ratio": 0.75, "kind": "iou"},
    nms.batched_nms: {"iou": 0.5, "kind": "iou", "beta": 1.0, "agnostic": False},
    nms.cluster_nms: {"iou": 0.5, "kind": "iou", "beta": 1.0, "agnostic": False},
    nms.soft_nms: {"method": "gaussian", "iou": 0.5, "sigma": 0.5, "min_score": 0.001},
    coding.DeltaCoder: {"weights": (10.0, 10.0, 5.0, 5.0)},
    coding.DistributionCoder: {"bins": 17, "step": 0.25},
}


@pytest.mark.parametrize("part", DEFAULTS, ids=lambda part: part.__name__)
def test_defaults_are_those_of_the_papers_and_the_interface(part: Any) -> None:
    parameters = inspect.signature(part).parameters
    assert {name: parameters[name].default for name in DEFAULTS[part]} == DEFAULTS[part]
