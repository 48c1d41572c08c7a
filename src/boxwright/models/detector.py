"""What all detectors share: from people's images to network input, and from raw outputs to boxes on them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.boxes import clip_boxes
from boxwright.coding import BoxCoder
from boxwright.data.inputs import ImageLike, Input, each_image
from boxwright.data.transforms import Frame
from boxwright.errors import DataError
from boxwright.evaluate.thresholds import Thresholds, least_scores
from boxwright.models.batching import predict_stream
from boxwright.models.fused import can_fuse, fuse_convolutions
from boxwright.models.layers import fold_batch_norm, folds_exactly, keep_statistics
from boxwright.models.selection import EVALUATION_SCORE, above_own
from boxwright.nms import NmsKind
from boxwright.recipes import Recipe
from boxwright.types import Detections

Score = float | str | Sequence[float]
"""Above which detections are kept: one for all classes, (K,) in label order, or ``precision=P``, ``recall=R``."""
InferencePrecision = Literal["float32", "bf16"]

_KEPT_SIZES = 64  # sizes of inputs whose anchors are kept


class Network(NamedTuple):
    """What a detector's builder gives."""

    net: nn.Module
    """(B, 3, H, W) -> what the detector makes its raw outputs of."""
    spec: AnchorSpec
    mean: Sequence[float]
    """Of the input in 0..1, by channel, as the backbone's weights expect it; a recipe may say otherwise."""
    std: Sequence[float]


class Detector(nn.Module, ABC):
    """What all detectors share: the way from people's images to network input, and back to boxes on them.

    ``forward`` takes network input and gives raw outputs, ``detect`` makes detections of these; ``predict`` takes
    people's images and gives detections.
    """

    anchors: Anchors
    """Those of a square input of the recipe's ``image_size``."""
    thresholds: Thresholds | None
    """The scores by class that ``predict`` goes by, where a validation told them."""

    def __init__(self, network: Network, coder: BoxCoder, recipe: Recipe, *, softmax: bool = False) -> None:
        """``softmax``: the last logit is the background."""
        super().__init__()
        self.net = network.net
        self.spec = network.spec
        self.coder = coder
        self.recipe = recipe
        self.softmax = softmax
        self.thresholds = None
        self.memory_format = torch.contiguous_format
        self.anchors = make_anchors(network.spec, recipe.image_size)
        self._other_anchors: dict[tuple[int, int], Anchors] = {}
        mean, std = recipe.mean or network.mean, recipe.std or network.std
        self.register_buffer("_mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.train()

    @abstractmethod
    def forward(self, images: Tensor, shown: Tensor | None = None) -> Any:
        """Normalized input (B, 3, H, W) -> raw outputs.

        ``shown``: the first (B, 2) rows and columns are the image, what lies beyond is padding; None: all is.
        """

    @torch.no_grad()
    def detect(
        self,
        outputs: Any,
        *,
        size: tuple[int, int] | None = None,
        shown: Tensor | None = None,
        score: float | Sequence[float] = EVALUATION_SCORE,
        nms: NmsKind | None = None,
    ) -> list[Detections]:
        """Raw outputs of inputs of ``size`` (H, W; None: the recipe's square) -> the detections of each input, in its
        pixels, within what is ``shown``, of a score above ``score``, or above that (K,) of its class. ``nms``: instead
        of the recipe's. Raises ValueError for another number of scores."""
        size = size or (self.recipe.image_size, self.recipe.image_size)
        if not isinstance(score, Sequence):
            return self._detect(outputs, size, shown, score, nms)
        if len(score) != len(self.classes):
            raise ValueError(f"Expected a score for each of {len(self.classes)} classes but got {len(score)}")
        return [above_own(found, score) for found in self._detect(outputs, size, shown, min(score), nms)]

    @abstractmethod
    def _detect(
        self, outputs: Any, size: tuple[int, int], shown: Tensor | None, score: float, nms: NmsKind | None
    ) -> list[Detections]: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.recipe.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def anchors_of(self, size: tuple[int, int]) -> Anchors:
        """The anchors of an input of this size (H, W)."""
        if size == (self.recipe.image_size, self.recipe.image_size):
            return self.anchors
        if size not in self._other_anchors:
            if len(self._other_anchors) >= _KEPT_SIZES:
                self._other_anchors.clear()
            self._other_anchors[size] = make_anchors(self.spec, size).to(self.device)
        return self._other_anchors[size]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.anchors = self.anchors.to(self.device)
        self._other_anchors.clear()
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode, except for BatchNorm of the backbone that keeps its statistics."""
        super().train(mode)
        backbone = getattr(self.net, "backbone", None)
        if isinstance(backbone, nn.Module):
            keep_statistics(backbone, self.recipe.norm_mode)
        return self

    def lay_out(self, memory_format: torch.memory_format) -> Self:
        """Weights and inputs in this memory format: a matter of speed alone."""
        self.memory_format = memory_format
        return self.to(memory_format=memory_format)

    def normalize(self, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) uint8 or float in 0..255 -> network input, in the network's memory format.

        It is 0, the mean colour, beyond the ``shown`` (B, 2) rows and columns; None: all shows something.
        """
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        x = (images.float() - mean) / std
        if shown is not None:
            rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
            x = x * ((rows < shown[:, :1])[:, None, :, None] & (columns < shown[:, 1:])[:, None, None, :])
        return x.contiguous(memory_format=self.memory_format)

    def least_scores(self, score: Score | None = None) -> float | Sequence[float]:
        """The score above which ``predict`` keeps detections, for all classes or (K,) by class.

        Raises ValueError for another text than ``precision=P`` and ``recall=R``, RecipeError where no validation told
        what these are.
        """
        if score is None:
            return self.recipe.score if self.thresholds is None else self.thresholds.scores
        return least_scores(score, self.thresholds)

    def predict(
        self, images: Any, score: Score | None = None, nms: NmsKind | None = None, *, batch: int | None = None
    ) -> list[Detections]:
        """Detections of each image, in its own pixels, by falling score.

        ``images``: one image or a sequence of them: torch (3, H, W) or a batch (B, 3, H, W), numpy (H, W, 3), PIL
        images or paths; RGB, gray (H, W) or one channel, or with alpha, which is dropped; uint8 0..255, 16 bits or
        float 0..1, any sizes. ``score``: what is kept has more than this; None: than its class's in the
        run's thresholds, else the recipe's. One number for all classes, (K,) by class, or "precision=0.9",
        "recall=0.8": what that takes by the validation. ``nms``: instead of the recipe's. ``batch``: inputs at a time;
        None: as many as ``auto_batch`` says.
        Raises DataError for a file that can't be read, ValueError for another shape or type, a batch below 1, and
        scores that aren't K; RecipeError for a precision or recall where there was no validation.
        """
        was_training = self.training
        self.eval()
        try:
            return list(map(_found, predict_stream(self, each_image(images), score=score, nms=nms, batch=batch)))
        finally:
            self.train(was_training)

    def prepare(self, image: ImageLike) -> Input:
        """Read one of the images that ``predict`` takes, at the size of the network's input.

        Raises DataError and ValueError as ``predict`` does.
        """
        return self.recipe.input_rule.prepare(image)

    @torch.inference_mode()
    def predict_inputs(
        self, inputs: Sequence[Input], score: Score | None = None, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Detections of each of some inputs of one size that ``prepare`` made, in pixels of its image.

        The detector must be in evaluation mode. Raises BoxwrightError where they don't fit the memory.
        """
        batch = torch.from_numpy(np.stack([each.pixels for each in inputs])).permute(
            0, 3, 1, 2
        )  # (B, H, W, 3) -> (B, 3, H, W)
        size = batch.shape[2], batch.shape[3]
        padded = any(each.frame.size != size for each in inputs)
        shown = torch.tensor([each.frame.size for each in inputs]) if padded else None
        x = self.normalize(batch.to(self.device), None if shown is None else shown.to(self.device))
        outputs = self(x.to(next(self.net.parameters()).dtype), shown)
        found = self.detect(outputs, size=size, shown=shown, score=self.least_scores(score), nms=nms)
        return [to_image(of_input, each.frame, each.size) for of_input, each in zip(found, inputs, strict=True)]

    def for_inference(self, precision: InferencePrecision = "float32") -> Self:
        """Make a copy for ``predict``, on the device where this one is, that detects the same (to 1e-5) sooner.

        BatchNorm is part of its convolutions, and so are activations on a processor. With ``precision`` "bf16" its
        network computes in bfloat16, which moves scores by some thousandths: faster where the hardware has it.
        Raises ValueError for another precision.
        """
        if precision not in get_args(InferencePrecision):
            raise ValueError(f"Expected a precision out of {get_args(InferencePrecision)} but got {precision!r}")
        folded = copy.deepcopy(self).eval().requires_grad_(False)
        for name, part in folded.net.named_children():
            if name != "backbone" or getattr(part, "in_order", False) or folds_exactly(part):
                fold_batch_norm(part)
        if can_fuse(folded.net):
            fuse_convolutions(folded.net)
            folded.lay_out(torch.channels_last)
        if precision == "bf16":
            folded.net.to(torch.bfloat16)
        return folded


def to_image(found: Detections, frame: Frame, size: tuple[int, int]) -> Detections:
    """Detections in pixels of the input -> on the CPU, in pixels of the image of ``size`` (H, W) that it shows."""
    boxes = torch.from_numpy(frame.to_image(found.boxes.cpu().numpy()))
    return Detections(clip_boxes(boxes, size), found.scores.cpu(), found.labels.cpu())


def _found(outcome: Detections | DataError) -> Detections:
    if isinstance(outcome, DataError):
        raise outcome
    return outcome
