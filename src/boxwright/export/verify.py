"""Hold a model file against the detector that it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.export.compare import Rules, Tolerance, compare
from boxwright.export.graph import Raw
from boxwright.export.samples import Sample, make_candidates, shown_batch
from boxwright.export.session import Session
from boxwright.models.dense import DenseDetector
from boxwright.models.selection import best_pairs, keep_best
from boxwright.text import plural
from boxwright.types import DenseOutputs, Detections

Arrays = dict[str, NDArray[Any]]
_BATCHES = (1, 3)  # pictures at a time of a file that takes any number


@dataclass
class Agreement:
    """How a file and its detector compare."""

    pictures: int
    within: Tolerance
    score_difference: float = 0.0
    """The largest."""
    box_difference: float = 0.0
    """The largest, in pixels of the input."""
    pairs: int = 0
    """Detections that both have."""
    excused: Counter[str] = field(default_factory=Counter)
    """Detections that one has alone, by the limit that is within the tolerance."""
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """What was found, in words."""
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
    """Compares what a model says with what its detector says, and notes it."""

    detector: DenseDetector
    samples: Sequence[Sample]
    batch: int | None
    """Pictures at a time that the file takes; None: any number."""
    least: Sequence[float]
    """The score of each class above which detections are shown."""
    within: Tolerance

    def __post_init__(self) -> None:
        self.agreement = Agreement(len(self.samples), self.within)

    def check(
        self, model: onnx.ModelProto, *, raw: tuple[str, str] | None, detections: bool, batches: int | None = None
    ) -> None:
        """Compare what a model says of the pictures, in so many ``batches`` (None: all): scores and boxes of all
        anchors, which it gives under the names ``raw``, and its ``detections``."""
        session = Session(model)
        for samples in islice(self._batches(), batches):
            found = session({"images": shown_batch(samples).numpy()})
            outputs = self._outputs(samples)
            expected = self._raw(outputs)
            for kind, name, values in zip(("score", "box"), raw or (), expected, strict=False):
                self._compare(kind, samples, values, torch.from_numpy(found[name]))
            if detections and not self.agreement.faults:
                lists = self.detector.detect(outputs, score=min(self.least))
                for row, (sample, each) in enumerate(zip(samples, lists, strict=True)):
                    self._pair(sample.name, each, _detections(found, row), Raw(*(part[row] for part in expected)))

    def check_selection(self, model: onnx.ModelProto, names: tuple[str, str]) -> None:
        """Compare the detections of made scores and boxes, which the model takes under these ``names``.

        Of ``images`` it takes no more than their number.
        """
        session = Session(model)
        recipe, lowest = self.detector.recipe, min(self.least)
        maps, size = self._maps, (recipe.image_size, recipe.image_size)
        images = shown_batch(next(self._batches())).numpy()
        for name, *made in make_candidates(self.detector, lowest):
            repeated = (part.repeat(len(images), 0) for part in made)
            found = session({"images": images, **dict(zip(names, repeated, strict=True))})
            raw = Raw(*(torch.from_numpy(part[0]) for part in made))
            best, anchor, labels = best_pairs(raw.scores, lowest, recipe, maps)
            expected = keep_best(raw.boxes[anchor], best, labels, size, lowest, recipe)
            self._pair(f"made candidates, {name}", expected, _detections(found, 0), raw)

    @property
    def _maps(self) -> list[int]:
        return [level.count for level in self.detector.anchors.levels]

    def _batches(self) -> Iterator[Sequence[Sample]]:
        """All samples, in batches of each number that is tried; the last is filled up with the first ones."""
        for size in (self.batch,) if self.batch else _BATCHES:
            for start in range(0, len(self.samples), size):
                yield [self.samples[place % len(self.samples)] for place in range(start, start + size)]

    @torch.inference_mode()
    def _outputs(self, samples: Sequence[Sample]) -> DenseOutputs:
        return self.detector.forward(self.detector.normalize(shown_batch(samples).permute(0, 3, 1, 2)))

    def _raw(self, outputs: DenseOutputs) -> Raw:
        boxes = self.detector.coder.decode(self.detector.anchors.boxes, outputs.deltas)
        return Raw(self.detector.scores(outputs), boxes)

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

    def _pair(self, name: str, expected: Detections, found: Detections, raw: Raw) -> None:
        shown = expected.scores > torch.tensor(self.least)[expected.labels]
        expected = Detections(*(part[shown] for part in expected))
        outcome = compare(expected, found, *raw, Rules(self.detector.recipe, self._maps, self.least, self.within))
        self.agreement.pairs += outcome.pairs
        self.agreement.excused += outcome.excused
        self.agreement.faults += [f"{name}: {fault}" for fault in outcome.faults]


def _detections(found: Arrays, row: int) -> Detections:
    """Those of one picture, without the padding."""
    count = int(found["count"][row])
    return Detections(*(torch.from_numpy(found[name][row, :count]) for name in ("boxes", "scores", "labels")))
