"""What a detector says of inputs, stage by stage, as a model file must say it.

A second stage is asked about the very regions that the file chose: those are compared by themselves, as a difference of
rounding at a limit may put another in the place of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from boxwright.boxes import clip_boxes
from boxwright.export.compare import Outcome, Rules, Tolerance, compare
from boxwright.export.graph import Raw
from boxwright.export.regions import RegionRaw
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector
from boxwright.models.faster_rcnn import TwoStageDetector
from boxwright.models.selection import class_scores, limits
from boxwright.types import Detections, TwoStageOutputs


class Limit(NamedTuple):
    """Bounds of the detections of a picture."""

    size: tuple[int, int]
    """(H, W) of the input that it fills."""
    maps: Sequence[int]
    """Rows of each feature map."""


class Expected(ABC):
    """Outputs of a detector for inputs of one size."""

    raw: tuple[Tensor, ...]
    """Scores, boxes and what they came from."""
    kinds: tuple[str, ...]
    """Kind of each output: a ``score``, ``logit`` or ``box``, or "" for what isn't compared number by number."""
    limits: list[Limit]

    def __init__(self, detector: Any, inputs: Mapping[str, Tensor]) -> None:
        self.detector = detector
        self.images, self.valid_size = inputs["images"].permute(0, 3, 1, 2), inputs.get("valid_size")
        self.size = (self.images.shape[2], self.images.shape[3])
        self.outputs = detector.forward(detector.normalize(self.images, self.valid_size), self.valid_size)

    def detections(self, score: float) -> list[Detections]:
        """Select the detections above a score."""
        return self.detector.detect(self.outputs, size=self.size, valid_size=self.valid_size, score=score)  # type: ignore[no-any-return]

    def of_image(self, row: int) -> Raw:
        """Scores and boxes of one image."""
        return Raw(self.raw[0][row], self.raw[1][row])

    @abstractmethod
    def chosen(self, row: int, within: Tolerance) -> Outcome | None:
        """Compare the regions that a file chose in an image with the detector's; None if it chooses none."""

    def _limits(self, maps: Sequence[int]) -> list[Limit]:
        return [Limit(each, maps) for each in limits(self.valid_size, self.size, len(self.images))]


class DenseExpected(Expected):
    """Outputs of a detector of one stage."""

    kinds = ("score", "box")

    def __init__(self, detector: DenseDetector, inputs: Mapping[str, Tensor]) -> None:
        super().__init__(detector, inputs)
        anchors = detector.anchors_of(self.size)
        boxes = detector.coder.decode(anchors.boxes, self.outputs.deltas)
        self.raw = (detector.scores(self.outputs), boxes)
        self.limits = self._limits([level.count for level in anchors.levels])

    def chosen(self, row: int, within: Tolerance) -> Outcome | None:
        """Return None: no regions are chosen, all anchors are classified."""
        return None


class RegionExpected(Expected):
    """Outputs of a detector of two stages, its second of the regions that a file ``found``."""

    kinds = ("score", "box", "", "", "logit", "box")

    def __init__(self, detector: TwoStageDetector, inputs: Mapping[str, Tensor], found: RegionRaw) -> None:
        super().__init__(detector, inputs)
        outputs: TwoStageOutputs = self.outputs
        self.found, self.anchors = found, detector.anchors_of(self.size)
        self.own = detector.propose(outputs.rpn, self.anchors, self.valid_size_of_all)
        there = found.anchors >= 0
        logits, deltas = detector.refine(outputs.features, found.regions.unbind())
        scores = class_scores(logits, detector.softmax).view(*there.shape, -1)
        deltas = deltas.float().view(*there.shape, -1, detector.coder.dim)
        boxes = torch.where(there[..., None, None], detector.coder.decode(found.regions.unsqueeze(2), deltas), 0)
        boxes = boxes if detector.recipe.box_per_class else boxes.squeeze(2)
        first = detector.rpn_coder.decode(self.anchors.boxes, outputs.rpn.deltas)
        scores = torch.where(there.unsqueeze(-1), scores, 0)
        self.raw = (scores, boxes, found.regions, found.anchors, outputs.rpn.logits, first)
        kept = [each[own] for each, own in zip(found.regions, there, strict=True)]
        self.outputs = outputs._replace(proposals=kept)
        self.limits = self._limits([scores.shape[1]])

    @property
    def valid_size_of_all(self) -> Tensor:
        """(B, 2) rows and columns."""
        return torch.tensor([self.size] * len(self.images)) if self.valid_size is None else self.valid_size

    def chosen(self, row: int, within: Tolerance) -> Outcome | None:
        """Choose by the objectness as a score, with the maps as classes."""
        maps = [level.count for level in self.anchors.levels]
        level = torch.arange(len(maps)).repeat_interleave(torch.tensor(maps))  # (A,)
        logits, first = self.raw[4][row], self.raw[5][row]  # (A, 1), (A, 4)
        scores = torch.full((len(level), len(maps)), -torch.inf).scatter(1, level.unsqueeze(1), logits)
        there = self.found.anchors[row] >= 0
        of_file = self.found.anchors[row][there]
        own = self.own[row]
        expected = Detections(own.boxes, logits[own.anchors, 0], level[own.anchors])
        found = Detections(self.found.regions[row][there], self.found.objectness[row][of_file, 0], level[of_file])
        recipe = self.detector.recipe
        rules = Rules(
            recipe.replace(
                nms_threshold=recipe.proposal_nms,
                nms_agnostic=False,
                candidates=recipe.proposals,
                candidates_per="map",
                max_detections=recipe.proposals,
                vote=0,
            ),
            maps,
            [-torch.inf] * len(maps),
            within,
        )
        height, width = self.valid_size_of_all[row].tolist()
        return compare(expected, found, scores, clip_boxes(first, (height, width)), rules)


def expected_of(detector: Detector, inputs: Mapping[str, Tensor], found: Sequence[Tensor]) -> Expected:
    """Compute a detector's outputs on inputs for which a file gave the raw values ``found``."""
    if isinstance(detector, TwoStageDetector):
        return RegionExpected(detector, inputs, RegionRaw(*found))
    assert isinstance(detector, DenseDetector)
    return DenseExpected(detector, inputs)
