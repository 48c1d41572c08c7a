"""Compare a model file with the detector that it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.boxes import clip_boxes
from boxwright.errors import BoxwrightError
from boxwright.export.choosing import chosen_from, detections_in, rows_of_maps
from boxwright.export.compare import Rules, Tolerance, compare
from boxwright.export.expected import Expected, Limit, expected_of
from boxwright.export.graph import Raw
from boxwright.export.samples import Sample, as_batch, make_candidates
from boxwright.models.detector import Detector
from boxwright.models.faster_rcnn import TwoStageDetector
from boxwright.text import plural
from boxwright.types import Detections

Arrays = dict[str, NDArray[Any]]
Model = Callable[[Mapping[str, NDArray[Any]]], Arrays]
"""Inputs by name -> outputs by name."""
_BATCHES = (1, 3)  # pictures at a time of a file that takes any number
_SHOWN = 3  # faults in a message


class Unfaithful(BoxwrightError):
    """A model file that doesn't say what its run says. It isn't written."""


@dataclass
class Agreement:
    """Agreement between a file and its detector."""

    pictures: int
    within: Tolerance
    score_difference: float = 0.0
    """The largest difference of scores."""
    box_difference: float = 0.0
    """The largest, in pixels of the input."""
    logit_difference: float = 0.0
    """The largest of the first of two stages."""
    pairs: int = 0
    """Detections that both have."""
    excused: Counter[str] = field(default_factory=Counter)
    """Detections that one has alone, by the limit that is within the tolerance."""
    regions: int = 0
    """Regions that both have, of a detector of two stages."""
    regions_excused: Counter[str] = field(default_factory=Counter)
    """Regions that one has alone."""
    faults: list[str] = field(default_factory=list)

    def require(self) -> None:
        """Raise Unfaithful where there are faults."""
        faults = self.faults
        if faults:
            more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
            raise Unfaithful(
                f"the file gives other results than the run, and isn't written: {'; '.join(faults[:_SHOWN])}{more}"
            )

    def lines(self) -> Iterator[str]:
        """Describe the result in words."""
        yield (
            f"{plural(self.pictures, 'picture')}: scores differ by at most {self.score_difference:.1e}, boxes by "
            f"{self.box_difference:.1e} px"
        )
        for kind, pairs, excused in (
            ("region", self.regions, self.regions_excused),
            ("detection", self.pairs, self.excused),
        ):
            near = ", ".join(f"{limit} {count}" for limit, count in sorted(excused.items()))
            if pairs or near:
                yield f"{plural(pairs, kind)} one to one" + (
                    f"; {sum(excused.values())} within {self.within.share:g} of a limit: {near}" if near else ""
                )


@dataclass
class Verifier:
    """Compares a model's outputs with its detector's, and records the differences."""

    detector: Detector
    samples: Sequence[Sample]
    batch: int | None
    """Batch size that the file takes; None: any."""
    min_scores: Sequence[float]
    """The score of each class above which detections are shown."""
    within: Tolerance

    def __post_init__(self) -> None:
        self.agreement = Agreement(len(self.samples), self.within)

    def check(self, model: Model, *, raw: Sequence[str], detections: bool, batches: int | None = None) -> None:
        """Compare a model's raw values, its outputs named ``raw``, and its ``detections`` with the detector's.

        ``batches`` limits how many batches of pictures are compared; None: all.
        """
        for samples in islice(self._batches(), batches):
            inputs = as_batch(samples, self._any_size)
            found = model({name: values.numpy() for name, values in inputs.items()})
            values = [torch.from_numpy(found[name]) for name in raw]
            expected = self._expected(inputs, values)
            for kind, own, its in zip(expected.kinds, expected.raw, values, strict=True):
                if kind:
                    self._compare(kind, samples, own, its)
            self._compare_regions(samples, expected)
            if detections and not self.agreement.faults:
                selected = expected.detections(min(self.min_scores))
                for row, (sample, each) in enumerate(zip(samples, selected, strict=True)):
                    self._pair(
                        sample.name, each, detections_in(found, row), expected.of_image(row), expected.limits[row]
                    )

    def check_selection(self, model: Model, names: Sequence[str]) -> None:
        """Compare the detections of made scores and boxes, which the model takes under these ``names``.

        Of ``images`` only the number matters.
        """
        recipe, lowest = self.detector.recipe, min(self.min_scores)
        side = recipe.image_size + -recipe.image_size % recipe.input_size.multiple
        maps = rows_of_maps(self.detector, (side, side))
        copies = self.batch or 1
        inputs: Arrays = {"images": np.zeros((copies, side, side, 3), np.uint8 if recipe.antialias else np.float32)}
        if self._any_size:
            inputs["valid_size"] = np.full((copies, 2), side)
        classes = len(self.detector.classes)
        own_boxes = isinstance(self.detector, TwoStageDetector) and recipe.box_per_class
        for name, *made in make_candidates(sum(maps), classes, side, lowest):
            if own_boxes:  # (1, A, 4) -> (1, A, K, 4)
                made[1] = np.stack([np.roll(made[1], label, axis=1) for label in range(classes)], 2)
            repeated = (part.repeat(copies, 0) for part in made)
            found = model({**inputs, **dict(zip(names, repeated, strict=True))})
            raw = Raw(*(torch.from_numpy(part[0]) for part in made))
            expected = chosen_from(self.detector, raw, (side, side), (side, side), lowest)
            self._pair(f"made candidates, {name}", expected, detections_in(found, 0), raw, Limit((side, side), maps))

    def check_own(self, model: Model, source: Model, raw: Sequence[str], *, detections: bool) -> None:
        """Compare a model's ``detections`` with those chosen from its own scores and boxes.

        ``source`` gives these as the first two of its outputs ``raw``; the shapes of all are compared with those of
        the detector.
        """
        for samples in self._batches():
            inputs = as_batch(samples, self._any_size)
            arrays = {name: values.numpy() for name, values in inputs.items()}
            found, outputs = model(arrays), source(arrays)
            own = [torch.from_numpy(outputs[name]) for name in raw]
            expected = self._expected(inputs, own)
            for kind, ours, values in zip(expected.kinds, expected.raw, own, strict=True):
                if kind:
                    self._check_shape(kind, samples, ours, values)
            for row, sample in enumerate(samples if detections and not self.agreement.faults else ()):
                of_image, limit = Raw(own[0][row], own[1][row]), expected.limits[row]
                chosen = chosen_from(self.detector, of_image, limit.size, expected.size, min(self.min_scores))
                self._pair(sample.name, chosen, detections_in(found, row), of_image, limit)

    @property
    def _any_size(self) -> bool:
        return self.detector.recipe.resize == "shortest"

    @torch.inference_mode()
    def _expected(self, inputs: dict[str, Tensor], found: Sequence[Tensor]) -> Expected:
        return expected_of(self.detector, inputs, found)

    def _batches(self) -> Iterator[Sequence[Sample]]:
        """Yield all samples, in batches of each size to test; the last one is filled up with the first samples."""
        for size in (self.batch,) if self.batch else _BATCHES:
            for start in range(0, len(self.samples), size):
                yield [self.samples[place % len(self.samples)] for place in range(start, start + size)]

    def _compare(self, kind: str, samples: Sequence[Sample], expected: Tensor, found: Tensor) -> None:
        if not self._check_shape(kind, samples, expected, found):
            return
        apart = (found - expected).abs()
        allowed = self.within.of_boxes(expected) if kind == "box" else self.within.of(expected)
        most = float(apart.max())
        of_kind = f"{kind}_difference"
        setattr(self.agreement, of_kind, max(most, getattr(self.agreement, of_kind)))
        if not bool((apart <= allowed).all()):
            self.agreement.faults.append(f"{_names(samples)}: a {kind} differs by {most:.2g}")

    def _check_shape(self, kind: str, samples: Sequence[Sample], expected: Tensor, found: Tensor) -> bool:
        """Tell whether there are as many values as expected and none is NaN."""
        if found.shape != expected.shape:
            text = f"Expected {kind}s of shape {tuple(expected.shape)} but got {tuple(found.shape)}"
        elif bool(found.isnan().any()):
            text = f"a {kind} is no number"
        else:
            return True
        self.agreement.faults.append(f"{_names(samples)}: {text}")
        return False

    def _compare_regions(self, samples: Sequence[Sample], expected: Expected) -> None:
        for row, sample in enumerate(samples):
            outcome = expected.chosen(row, self.within)
            if outcome is not None:
                self.agreement.regions += outcome.pairs
                self.agreement.regions_excused += outcome.excused
                self.agreement.faults += [f"{sample.name}, regions, by map: {fault}" for fault in outcome.faults]

    def _pair(self, name: str, expected: Detections, found: Detections, raw: Raw, limit: Limit) -> None:
        above = expected.scores > torch.tensor(self.min_scores)[expected.labels]
        expected = Detections(*(part[above] for part in expected))
        rules = Rules(self.detector.recipe, limit.maps, self.min_scores, self.within)
        outcome = compare(expected, found, raw.scores, clip_boxes(raw.boxes, limit.size), rules)
        self.agreement.pairs += outcome.pairs
        self.agreement.excused += outcome.excused
        self.agreement.faults += [f"{name}: {fault}" for fault in outcome.faults]


def _names(samples: Sequence[Sample]) -> str:
    return ", ".join(sample.name for sample in samples)
