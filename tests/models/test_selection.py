"""A score is a cut: whatever it is, what stays is what a low score finds, less what lies below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
import torch

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.evaluate import Thresholds, detection_metrics
from boxwright.models.detector import Detector
from boxwright.nms import NmsKind
from boxwright.types import DenseOutputs, Detections

SMALL = {"image_size": 96, "pretrained": False, "freeze": 0, "width": 32}
OWN = [0.35, 0.2, 0.6]


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return bw.create_detector("lite320", 3, **SMALL).eval()


@pytest.fixture(scope="module")
def outputs(detector: Detector) -> DenseOutputs:
    """Crowded: every cell has boxes of all classes, of scores from .01 to .95."""
    generator = torch.Generator().manual_seed(0)
    anchors = len(detector.anchors.boxes)
    logits = torch.randn(2, anchors, 3, generator=generator) * 2 - 1.5
    near = torch.arange(17).repeat(4) * -0.8  # small boxes
    return DenseOutputs(logits, torch.randn(2, anchors, 4 * 17, generator=generator) + near)


def cut(found: Detections, least: float | Sequence[float]) -> Detections:
    """Those above their score, one by one."""
    own = [least] * 3 if isinstance(least, float) else least
    kept = [place for place, label in enumerate(found.labels.tolist()) if found.scores[place] > own[label]]
    return Detections(*(part[kept] for part in found))


@pytest.mark.parametrize("vote", [0.0, 0.05])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("kind", get_args(NmsKind))
def test_a_score_cuts_and_changes_nothing_else(
    detector: Detector, outputs: DenseOutputs, kind: NmsKind, agnostic: bool, vote: float
) -> None:
    before = detector.recipe
    try:
        detector.recipe = before.replace(nms_agnostic=agnostic, vote=vote, max_detections=1000)
        low = detector.detect(outputs, nms=kind)
        for least in (0.3, OWN):
            found = detector.detect(outputs, score=least, nms=kind)
            torch.testing.assert_close(found, [cut(each, least) for each in low])
            assert 5 < len(found[0].scores) < len(low[0].scores)
    finally:
        detector.recipe = before


def test_what_was_crowded_out_stays_out(detector: Detector, outputs: DenseOutputs) -> None:
    """``max_detections`` counts as at one score: those of a class that is cut take their places."""
    before = detector.recipe
    try:
        detector.recipe = before.replace(max_detections=1000)
        crowd = min(len(found.scores) for found in detector.detect(outputs, score=0.2))
        detector.recipe = before.replace(max_detections=crowd - 10)
        low, found = detector.detect(outputs, score=0.2), detector.detect(outputs, score=OWN)
        torch.testing.assert_close(found, [cut(each, OWN) for each in low])
        assert len(found[0].scores) < len(low[0].scores) == crowd - 10
    finally:
        detector.recipe = before


def test_scores_are_one_for_each_class(detector: Detector, outputs: DenseOutputs) -> None:
    with pytest.raises(ValueError, match="Expected a score for each of 3 classes but got 2"):
        detector.detect(outputs, score=[0.1, 0.2])


def thresholds_of(classes: Sequence[str]) -> Thresholds:
    """Of a split on which each class has 12 objects, found with a score of its own, and as many mistakes below."""
    found, targets = [], []
    for label in range(len(classes)):
        for _ in range(12):
            right, wrong = [5.0, 5, 50, 50], [60.0, 60, 90, 90]
            own = 0.2 + 0.2 * label
            targets.append({"boxes": [right], "labels": [label]})
            found.append({"boxes": [right, wrong], "labels": [label] * 2, "scores": [own + 0.04, own - 0.04]})
    table = detection_metrics(found, targets, classes)
    return Thresholds.of(table.matches, classes, split="val", default=0.3)


def test_predict_goes_by_the_thresholds_it_has(detector: Detector) -> None:
    image = torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))
    assert detector.min_scores() == detector.recipe.score == 0.3
    with pytest.raises(RecipeError, match=r"precision 0.9 needs a validation, and this model has none: box"):
        detector.predict(image, "precision=0.9")
    try:
        detector.thresholds = thresholds_of(detector.classes)
        assert detector.min_scores() == [0.2, 0.4, 0.6]
        assert detector.min_scores(0.5) == 0.5
        assert detector.min_scores([0.1, 0.2, 0.3]) == [0.1, 0.2, 0.3]
        assert detector.min_scores("recall=0.8") == [0.2, 0.4, 0.6]
        low = detector.predict(image, 0.0)
        scores = [low[0].scores[low[0].labels == label].median().item() for label in range(3)]
        torch.testing.assert_close(detector.predict(image, scores), [cut(each, scores) for each in low])
        assert detector.for_inference().min_scores() == [0.2, 0.4, 0.6]
        with pytest.raises(ValueError, match="Expected precision=P or recall=R"):
            detector.predict(image, "f1=0.9")
        detector.thresholds = Thresholds.unmeasured(detector.classes, 0.31)
        assert detector.min_scores() == [0.31] * 3
        with pytest.raises(RecipeError, match="needs a validation, and this model has none"):
            detector.min_scores("recall=0.8")
    finally:
        detector.thresholds = None
