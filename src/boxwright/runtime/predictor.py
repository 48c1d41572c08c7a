"""Prediction with an exported model, as ``Detector.predict`` does it with torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from operator import ge
from pathlib import Path
from typing import Any, Self

import numpy as np

from boxwright.data.images import PixelRule
from boxwright.data.inputs import Input, InputRule, each_image
from boxwright.data.transforms import InputSize
from boxwright.errors import DataError, RecipeError
from boxwright.runtime.backends import Backend, open_backend
from boxwright.runtime.nms import NmsKind
from boxwright.runtime.selection import Detections, SelectionRule, clip_boxes
from boxwright.streaming import batch_of, stream

Score = float | Sequence[float]
"""Above which detections are kept: one for all classes, or (K,) in label order."""
_FOUND = ("boxes", "scores", "labels", "count")
_RAW, _RAW_ALONE = ("all_scores", "all_boxes"), ("scores", "boxes")


@dataclass(frozen=True)
class Facts:
    """Facts in a model file's metadata that prediction uses."""

    classes: tuple[str, ...]
    input: InputRule
    selection: SelectionRule
    min_scores: tuple[float, ...]
    """(K,) the score of each class above which detections are shown."""
    whole: bool
    """Whether the graph selects detections itself."""
    shortest: float
    """Pixels a side that a detection has at least."""
    levels: tuple[dict[str, Any], ...]
    """For each feature map: its ``stride``, the ``anchors`` of a cell, and the ``rounding`` of its sides."""

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Self:
        """Read the settings from a file's metadata, by topic."""
        said, nms = metadata["input"], metadata["nms"]
        size = InputSize(said["image_size"], said["resize"], said["max_size"])
        pixels = PixelRule(said["exif"], said["depth_range"], said["max_pixels"])
        return cls(
            tuple(metadata["classes"]),
            InputRule(size, pixels, said["decode"], said["antialias"]),
            SelectionRule.of(nms),
            tuple(metadata["thresholds"][name] for name in metadata["classes"]),
            nms["where"] == "graph",
            nms["shortest"] or 0.0,
            tuple(nms["levels"]),
        )

    def maps(self, size: tuple[int, int]) -> list[int]:
        """Anchors of each feature map of an input of ``size`` (H, W)."""
        return [level["anchors"] * _cells(size[0], level) * _cells(size[1], level) for level in self.levels]


def _cells(side: int, level: dict[str, Any]) -> int:
    """Cells of a map along a side of the input; its stride may be rounded."""
    cells: float = side / level["stride"]
    return ceil(cells - 1e-9) if level["rounding"] == "ceil" else floor(cells + 1e-9)


class Predictor:
    """A model that ``boxwright export`` wrote, ready to find objects in images."""

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        """Open a model file; ``threads`` is how many compute, None: one per core.

        Raises RecipeError for a file that isn't there, is damaged, or wasn't made by ``boxwright export``.
        """
        self.backend: Backend = open_backend(path, threads)
        try:
            self.facts = Facts.of(self.backend.metadata)
        except (KeyError, TypeError, ValueError) as error:
            text = f"{path} doesn't say all that prediction needs ({error!r}): export it again with this boxwright"
            raise RecipeError(text) from None
        self._own = self.facts.selection

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.facts.classes

    @property
    def metadata(self) -> dict[str, Any]:
        """The file's metadata, by topic."""
        return self.backend.metadata

    def __call__(
        self, images: Any, score: Score | None = None, nms: NmsKind | None = None, *, batch: int | None = None
    ) -> list[Detections]:
        """Detections of each image, in its own pixels, by falling score.

        ``images``: one image or a sequence of them, any sizes: paths, PIL images or arrays (H, W, 3), as
        ``Detector.predict`` takes them. ``score``: what is kept has more than this; None: than its class's in the file.
        One number for all classes, or (K,) by class. ``nms``: instead of the model's. ``batch``: inputs at a time;
        None: 1 to 64, fewer the larger they are.
        Raises DataError for a file that can't be read, ValueError for another shape or type, a batch below 1, and
        scores that aren't K; RecipeError for what the file can't give.
        """
        return list(map(_found, self.stream(each_image(images), score, nms, batch=batch)))

    def stream(
        self,
        images: Iterable[Any],
        score: Score | None = None,
        nms: NmsKind | None = None,
        *,
        batch: int | None = None,
    ) -> Iterator[Detections | DataError]:
        """Yield the detections of each image, or what is wrong with its file, in their order.

        However many images there are, only a few batches of them are in memory. Arguments and errors are those of a
        call.
        """
        size = self.facts.input.size
        longest = size.longest if size.resize == "shortest" else size.side
        batch = (self.backend.batch or batch_of((size.side, longest))) if batch is None else batch
        return stream(images, self.prepare, lambda inputs: self.predict_inputs(inputs, score, nms), batch)

    def prepare(self, image: Any) -> Input:
        """Read one of the images that a call takes, at the size of the network's input. Raises as a call does."""
        return self.facts.input.prepare(image)

    def predict_inputs(
        self, inputs: Sequence[Input], score: Score | None = None, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Detections of each of some inputs of one size that ``prepare`` made, in pixels of its image."""
        min_scores = self._min_scores(score)
        rule = self.facts.selection if nms is None else replace(self.facts.selection, nms=nms)
        taken = self.backend.batch or len(inputs)
        found: list[Detections] = []
        for start in range(0, len(inputs), taken):
            group = inputs[start : start + taken]
            found += self._found([*group, *[group[0]] * (taken - len(group))], min_scores, rule)[: len(group)]
        return [_on_image(each, of) for each, of in zip(found, inputs, strict=True)]

    def _min_scores(self, score: Score | None) -> tuple[float, ...]:
        """Return the score (K,) of each class above which detections are shown."""
        if score is None:
            return self.facts.min_scores
        if not isinstance(score, Sequence):
            return (float(score),) * len(self.classes)
        if len(score) != len(self.classes):
            raise ValueError(f"Expected a score for each of {len(self.classes)} classes but got {len(score)}")
        return tuple(score)

    def _found(self, inputs: Sequence[Input], min_scores: tuple[float, ...], rule: SelectionRule) -> list[Detections]:
        """Detections in pixels of the inputs, as many as the backend takes at a time."""
        arrays = {"images": np.stack([each.pixels for each in inputs])}
        if self.facts.input.size.resize == "shortest":
            arrays["valid_size"] = np.array([each.frame.size for each in inputs], np.int64)
        fits = rule == self._own and all(map(ge, min_scores, self.facts.min_scores))
        if self.facts.whole and fits:
            boxes, scores, labels, counts = self.backend.run(arrays, _FOUND)
            rows = zip(boxes, scores, labels, counts.tolist(), strict=True)
            return [Detections(*(part[:count] for part in row)).above(min_scores) for *row, count in rows]
        scores, boxes = self.backend.run(arrays, _RAW if self.facts.whole else _RAW_ALONE)
        maps = self.facts.maps(arrays["images"].shape[1:3])
        sizes = arrays["valid_size"].tolist() if "valid_size" in arrays else [arrays["images"].shape[1:3]] * len(inputs)
        return [
            rule.select(score, box, tuple(size), min(min_scores), maps, self.facts.shortest).above(min_scores)
            for score, box, size in zip(scores, boxes, sizes, strict=True)
        ]


def _on_image(found: Detections, of: Input) -> Detections:
    """Detections in pixels of an input -> in pixels of its image."""
    return found._replace(boxes=clip_boxes(of.frame.to_image(found.boxes), of.size))


def _found(outcome: Detections | DataError) -> Detections:
    if isinstance(outcome, DataError):
        raise outcome
    return outcome
