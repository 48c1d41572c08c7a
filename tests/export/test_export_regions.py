"""A detector of two stages as a graph says what the detector says, stage by stage, without being exported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from export_runs import lively, lively_run
from torch import nn

from boxwright.export import export_run
from boxwright.export.compare import Tolerance
from boxwright.export.graph import Selection, WholeGraph
from boxwright.export.regions import RegionGraph
from boxwright.export.samples import make_samples
from boxwright.export.suppression import by_torchvision
from boxwright.export.torch_graph import run
from boxwright.export.verify import Agreement, Arrays, Model, Verifier
from boxwright.models import Detector
from boxwright.models.faster_rcnn import TwoStageDetector

FOUND = ("boxes", "scores", "labels", "count")
RAW = ("all_scores", "all_boxes", "regions", "region_anchors", "objectness", "first_boxes")
LEAST = [0.2, 0.3, 0.25]


class Named(nn.Module):
    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip((*FOUND, *RAW), self.graph(*inputs), strict=True))


def detector_of(**options: object) -> TwoStageDetector:
    detector = lively("faster-rcnn", **options).requires_grad_(False)
    assert isinstance(detector, TwoStageDetector)
    return detector


def model_of(detector: TwoStageDetector) -> Model:
    selection = Selection(detector.recipe, LEAST, 0.01, by_torchvision)
    named = Named(WholeGraph(RegionGraph(detector, by_torchvision), selection))
    return lambda inputs: run(named, inputs)


def agreement(detector: Detector, model: Model, pictures: int = 4) -> Agreement:
    verifier = Verifier(detector, make_samples(detector, [])[:pictures], None, LEAST, Tolerance(1e-4))
    verifier.check(model, raw=RAW, detections=True)
    return verifier.agreement


@pytest.fixture(scope="module")
def detector() -> TwoStageDetector:
    return detector_of(vote=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"vote": 0.05},
        {"box_per_class": False, "nms_agnostic": True, "proposals": 700},
        {"resize": "shortest", "max_size": 192, "candidates_per": "class", "candidates": 20},
    ],
    ids=["boxes by class", "one box", "any size"],
)
def test_it_says_what_the_detector_says(options: dict[str, object]) -> None:
    detector = detector_of(**options)
    found = agreement(detector, model_of(detector))
    assert found.faults == []
    assert found.pairs > 20 > sum(found.excused.values())
    assert found.regions > 100 > 20 * sum(found.regions_excused.values())
    assert len(list(found.lines())) == 3


def other_suppression(detector: TwoStageDetector) -> None:
    detector.recipe = detector.recipe.replace(proposal_nms=0.6)


def fewer_regions(detector: TwoStageDetector) -> None:
    detector.recipe = detector.recipe.replace(proposals=20)


def other_second_stage(detector: TwoStageDetector) -> None:
    detector.net.roi.logits.bias.data[0] += 0.1  # softmax doesn't see what all classes share


def other_boxes(detector: TwoStageDetector) -> None:
    detector.net.roi.deltas.bias.data += 0.01


def other_first_stage(detector: TwoStageDetector) -> None:
    detector.net.rpn.logits.bias.data += 0.01


@pytest.mark.parametrize(
    "change", [other_suppression, fewer_regions, other_second_stage, other_boxes, other_first_stage]
)
def test_another_detector_is_told(detector: TwoStageDetector, change: Callable[[TwoStageDetector], None]) -> None:
    other = detector_of(vote=0.05)
    change(other)
    assert agreement(detector, model_of(other), 1).faults


def test_regions_without_one(detector: TwoStageDetector) -> None:
    """The best one, which nothing excuses."""

    def without(inputs: object) -> Arrays:
        found = model_of(detector)(inputs)  # type: ignore[arg-type]
        for name, padding in zip(RAW[:4], (0, 0, 0, -1), strict=True):
            found[name][:, :-1] = found[name][:, 1:].copy()
            found[name][:, -1] = padding
        return found

    faults = agreement(detector, without, 1).faults
    assert any("regions, by map" in fault and "missing" in fault for fault in faults)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_it_is_exported(tmp_path: object, form: str) -> None:
    found = export_run(lively_run(tmp_path, "faster-rcnn", vote=0.05).folder, form=form).agreement  # type: ignore[arg-type]
    assert found.pairs > 20 > sum(found.excused.values())
    assert found.regions > 100
