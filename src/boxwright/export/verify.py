"""Compare a model file with the detector that it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.boxes import clip_boxes
from boxwright.export.compare import Rules, Tolerance, compare
from boxwright.export.graph import Raw
from boxwright.export.samples import Sample, as_batch, make_candidates
from boxwright.export.session import Session
from boxwright.models.dense import DenseDetector
from boxwright.models.selection import best_pairs, keep_best, limits
from boxwright.text import plural
from boxwright.types import DenseOutputs, Detections

Arrays = dict[str, NDArray[Any]]
_BATCHES = (1, 3)  # pictures at a time of a file that takes any number


class Limit(NamedTuple):
    """What bounds the detections of a picture."""

    size: tuple[int, int]
    """(H, W) of the input that is image."""
    maps: Sequence[int]
    """Anchors of each feature map."""


class Said(NamedTuple):
    """A detector's outputs for some inputs of one size."""

    detector: DenseDetector
    inputs: dict[str, Tensor]
    outputs: DenseOutputs
    raw: Raw
    limits: list[Limit]

    @classmethod
    def of(cls, detector: DenseDetector, inputs: dict[str, Tensor]) -> Said:
        """Run the detector as a prediction does."""
        images, shown = inputs["images"].permute(0, 3, 1, 2), inputs.get("shown")
        size = (images.shape[2], images.shape[3])
        outputs = detector.forward(detector.normalize(images, shown), shown)
        anchors = detector.anchors_of(size)
        raw = Raw(detector.scores(outputs), detector.coder.decode(anchors.boxes, outputs.deltas))
        maps = [level.count for level in anchors.levels]
        return cls(detector, inputs, outputs, raw, [Limit(each, maps) for each in limits(shown, size, len(images))])

    def detections(self, score: float) -> list[Detections]:
        """Return the detections above a score."""
        images, shown = self.inputs["images"], self.inputs.get("shown")
        return self.detector.detect(self.outputs, size=(images.shape[1], images.shape[2]), shown=shown, score=score)

    def of_image(self, row: int) -> Raw:
        """Return scores and boxes of one image."""
        return Raw(*(part[row] for part in self.raw))


@dataclass
class Agreement:
    """How a file and its detector agree."""

    pictures: int
    within: Tolerance
    score_difference: float = 0.0
    """The largest difference of scores."""
    box_difference: float = 0.0
    """The largest difference of boxes, in pixels of the input."""
    pairs: int = 0
    """Detections that both have."""
    excused: Counter[str] = field(default_factory=Counter)
    """Detections that only one has, by the limit that is within the tolerance."""
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Describe the result in words."""
        yield (
            f"{plural(self.pictures, 'picture')}: scores differ by at most {self.score_difference:.1e}, boxes by "
            f"{self.box_difference:.1e} px"
        )
        if self.pairs or self.excused:
            near = ", ".join(f"{limit} {count}" for limit, count in sorted(self.excused.items()))
            yield f"{plural(self.pairs, 'detection')} one to one" + (
                f"; {sum(self.excused.values())} within {self.within.share:g} of a limit: {near}" if near else ""
            )


@dataclass
class Verifier:
    """Compares a model's outputs with its detector's, and records the differences."""

    detector: DenseDetector
    samples: Sequence[Sample]
    batch: int | None
    """Batch size that the file takes; None: any."""
    least: Sequence[float]
    """The score of each class above which detections are shown."""
    within: Tolerance

    def __post_init__(self) -> None:
        self.agreement = Agreement(len(self.samples), self.within)

    def check(
        self, model: onnx.ModelProto, *, raw: tuple[str, str] | None, detections: bool, batches: int | None = None
    ) -> None:
        """Compare a model's outputs for the pictures with the detector's: scores, boxes of all anchors, detections.

        Args:
            model: The model.
            raw: Names of its outputs with scores and boxes of all anchors; None: it has none.
            detections: Whether it returns detections.
            batches: Number of batches to compare; None: all.
        """
        session = Session(model)
        for samples in islice(self._batches(), batches):
            said = self._said(as_batch(samples, self._any_size))
            found = session({name: values.numpy() for name, values in said.inputs.items()})
            for kind, name, values in zip(("score", "box"), raw or (), said.raw, strict=False):
                self._compare(kind, samples, values, torch.from_numpy(found[name]))
            if detections and not self.agreement.faults:
                for row, (sample, each) in enumerate(zip(samples, said.detections(min(self.least)), strict=True)):
                    self._pair(sample.name, each, _detections(found, row), said.of_image(row), said.limits[row])

    def check_selection(self, model: onnx.ModelProto, names: tuple[str, str]) -> None:
        """Compare the detections of generated scores and boxes, which the model takes under these ``names``.

        Of ``images`` only the number matters.
        """
        session = Session(model)
        recipe, lowest = self.detector.recipe, min(self.least)
        side = recipe.image_size + -recipe.image_size % recipe.input_size.multiple
        anchors = self.detector.anchors_of((side, side))
        maps = [level.count for level in anchors.levels]
        copies = self.batch or 1
        inputs: Arrays = {"images": np.zeros((copies, side, side, 3), np.uint8 if recipe.antialias else np.float32)}
        if self._any_size:
            inputs["shown"] = np.full((copies, 2), side)
        for name, *made in make_candidates(len(anchors), len(self.detector.classes), side, lowest):
            repeated = (part.repeat(copies, 0) for part in made)
            found = session({**inputs, **dict(zip(names, repeated, strict=True))})
            raw = Raw(*(torch.from_numpy(part[0]) for part in made))
            best, anchor, labels = best_pairs(raw.scores, lowest, recipe, maps)
            expected = keep_best(raw.boxes[anchor], best, labels, (side, side), lowest, recipe)
            self._pair(f"made candidates, {name}", expected, _detections(found, 0), raw, Limit((side, side), maps))

    @property
    def _any_size(self) -> bool:
        return self.detector.recipe.resize == "shortest"

    @torch.inference_mode()
    def _said(self, inputs: dict[str, Tensor]) -> Said:
        return Said.of(self.detector, inputs)

    def _batches(self) -> Iterator[Sequence[Sample]]:
        """Yield all samples, in batches of each size to test; the last one is filled up with the first samples."""
        for size in (self.batch,) if self.batch else _BATCHES:
            for start in range(0, len(self.samples), size):
                yield [self.samples[place % len(self.samples)] for place in range(start, start + size)]

    def _compare(self, kind: str, samples: Sequence[Sample], expected: Tensor, found: Tensor) -> None:
        names = ", ".join(sample.name for sample in samples)
        if found.shape != expected.shape:
            text = f"{names}: Expected {kind}s of shape {tuple(expected.shape)} but got {tuple(found.shape)}"
            self.agreement.faults.append(text)
            return
        apart = (found - expected).abs()
        allowed = self.within.of(expected) if kind == "score" else self.within.of_boxes(expected)
        most = float(apart.max())
        of_kind = f"{kind}_difference"
        setattr(self.agreement, of_kind, max(most, getattr(self.agreement, of_kind)))
        if not bool((apart <= allowed).all()):
            self.agreement.faults.append(f"{names}: a {kind} differs by {most:.2g}")

    def _pair(self, name: str, expected: Detections, found: Detections, raw: Raw, limit: Limit) -> None:
        shown = expected.scores > torch.tensor(self.least)[expected.labels]
        expected = Detections(*(part[shown] for part in expected))
        rules = Rules(self.detector.recipe, limit.maps, self.least, self.within)
        outcome = compare(expected, found, raw.scores, clip_boxes(raw.boxes, limit.size), rules)
        self.agreement.pairs += outcome.pairs
        self.agreement.excused += outcome.excused
        self.agreement.faults += [f"{name}: {fault}" for fault in outcome.faults]


def _detections(found: Arrays, row: int) -> Detections:
    """Return one picture's detections, without padding."""
    count = int(found["count"][row])
    return Detections(*(torch.from_numpy(found[name][row, :count]) for name in ("boxes", "scores", "labels")))
