"""What all detectors share: from images to network input, and from raw outputs to boxes on the images."""

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
from boxwright.evaluate.thresholds import Thresholds, min_scores
from boxwright.models.batching import predict_stream
from boxwright.models.fused import can_fuse, fuse_convolutions
from boxwright.models.layers import fold_batch_norm, folds_exactly, keep_statistics
from boxwright.models.selection import EVALUATION_SCORE, above_own
from boxwright.nms import NmsKind
from boxwright.recipes import Recipe
from boxwright.types import Detections

Score = float | str | Sequence[float]
"""Limit above which detections are kept: one for all classes, (K,) in label order, or ``precision=P``, ``recall=R``."""
InferencePrecision = Literal["float32", "bf16"]

_KEPT_SIZES = 64  # number of input sizes whose anchors are cached


class Network(NamedTuple):
    """The result of a detector's builder."""

    net: nn.Module
    """Maps (B, 3, H, W) to the input of the detector's raw outputs."""
    spec: AnchorSpec
    mean: Sequence[float]
    """Mean of the input in 0..1, per channel, that the backbone's weights expect; a recipe may set another."""
    std: Sequence[float]


class Detector(nn.Module, ABC):
    """Base of all detectors: turns images into network input, and outputs into boxes on the images.

    ``forward`` maps network input to raw outputs, ``detect`` turns these into detections; ``predict`` goes from any
    images to detections.
    """

    anchors: Anchors
    """Anchors of a square input of the recipe's ``image_size``."""
    thresholds: Thresholds | None
    """The scores by class that ``predict`` uses, if a validation measured them."""

    def __init__(self, network: Network, coder: BoxCoder, recipe: Recipe, *, softmax: bool = False) -> None:
        """Combine network, coder and recipe; with ``softmax`` the last logit is the background."""
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
    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> Any:
        """Compute raw outputs from normalized input (B, 3, H, W).

        ``valid_size``: the first (B, 2) rows and columns are the image and the rest is padding; None: no padding.
        """

    @torch.no_grad()
    def detect(
        self,
        outputs: Any,
        *,
        size: tuple[int, int] | None = None,
        valid_size: Tensor | None = None,
        score: float | Sequence[float] = EVALUATION_SCORE,
        nms: NmsKind | None = None,
    ) -> list[Detections]:
        """Turn raw outputs into the detections of each input, in its pixels.

        Args:
            outputs: Raw outputs.
            size: (H, W) of the inputs; None: the recipe's square.
            valid_size: Rows and columns (B, 2) that are image; boxes are clipped to them.
            score: Lower limit of the scores, one or (K,) by class.
            nms: Kind of NMS instead of the recipe's.

        Raises:
            ValueError: If there is another number of scores.
        """
        size = size or (self.recipe.image_size, self.recipe.image_size)
        if not isinstance(score, Sequence):
            return self._detect(outputs, size, valid_size, score, nms)
        if len(score) != len(self.classes):
            raise ValueError(f"Expected a score for each of {len(self.classes)} classes but got {len(score)}")
        return [above_own(found, score) for found in self._detect(outputs, size, valid_size, min(score), nms)]

    @abstractmethod
    def _detect(
        self, outputs: Any, size: tuple[int, int], valid_size: Tensor | None, score: float, nms: NmsKind | None
    ) -> list[Detections]: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.recipe.classes

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def anchors_of(self, size: tuple[int, int]) -> Anchors:
        """Return the anchors of an input of this size (H, W)."""
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
        """Set training mode, except for BatchNorm of the backbone that keeps its statistics."""
        super().train(mode)
        backbone = getattr(self.net, "backbone", None)
        if isinstance(backbone, nn.Module):
            keep_statistics(backbone, self.recipe.norm_mode)
        return self

    def set_memory_format(self, memory_format: torch.memory_format) -> Self:
        """Set the memory format of weights and inputs, which affects speed only."""
        self.memory_format = memory_format
        return self.to(memory_format=memory_format)

    def normalize(self, images: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """Normalize (B, 3, H, W) uint8 or float in 0..255 for the network, in its memory format.

        Beyond the ``valid_size`` (B, 2) rows and columns the result is 0, the mean color; None: no padding.
        """
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        x = (images.float() - mean) / std
        if valid_size is not None:
            rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
            x = x * ((rows < valid_size[:, :1])[:, None, :, None] & (columns < valid_size[:, 1:])[:, None, None, :])
        return x.contiguous(memory_format=self.memory_format)

    def min_scores(self, score: Score | None = None) -> float | Sequence[float]:
        """Return the score above which ``predict`` keeps detections, for all classes or (K,) by class.

        Raises:
            ValueError: For text other than ``precision=P`` and ``recall=R``.
            RecipeError: If no validation measured these.
        """
        if score is None:
            return self.recipe.score if self.thresholds is None else self.thresholds.scores
        return min_scores(score, self.thresholds)

    def predict(
        self, images: Any, score: Score | None = None, nms: NmsKind | None = None, *, batch: int | None = None
    ) -> list[Detections]:
        """Detect objects in images; boxes are in each image's own pixels, by falling score.

        Args:
            images: One image or a sequence: torch (3, H, W) or a batch (B, 3, H, W), numpy (H, W, 3), PIL images or
                paths; RGB, gray (H, W) or one channel, or with alpha, which is dropped; uint8 0..255, 16 bits or float
                0..1; any sizes.
            score: Keep detections above this: one number, (K,) by class, or "precision=0.9" or "recall=0.8", the score
                at which the validation reached that. None: each class's score in the run's thresholds, else the
                recipe's.
            nms: Kind of NMS instead of the recipe's.
            batch: Inputs at a time; None: ``auto_batch``.

        Raises:
            DataError: If a file cannot be read.
            ValueError: For another shape or type, a batch below 1, and scores that are not K.
            RecipeError: For a precision or recall without a validation.
        """
        was_training = self.training
        self.eval()
        try:
            return list(map(_found, predict_stream(self, each_image(images), score=score, nms=nms, batch=batch)))
        finally:
            self.train(was_training)

    def prepare(self, image: ImageLike) -> Input:
        """Read an image that ``predict`` accepts, at the size of the network's input.

        Raises:
            DataError: As ``predict``.
            ValueError: As ``predict``.
        """
        return self.recipe.input_rule.prepare(image)

    @torch.inference_mode()
    def predict_inputs(
        self, inputs: Sequence[Input], score: Score | None = None, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Detect in inputs of one size made by ``prepare``; boxes are in pixels of each image.

        The detector must be in evaluation mode.

        Raises:
            BoxwrightError: If the inputs do not fit the memory.
        """
        batch = torch.from_numpy(np.stack([each.pixels for each in inputs])).permute(
            0, 3, 1, 2
        )  # (B, H, W, 3) -> (B, 3, H, W)
        size = batch.shape[2], batch.shape[3]
        padded = any(each.frame.size != size for each in inputs)
        valid_size = torch.tensor([each.frame.size for each in inputs]) if padded else None
        x = self.normalize(batch.to(self.device), None if valid_size is None else valid_size.to(self.device))
        outputs = self(x.to(next(self.net.parameters()).dtype), valid_size)
        found = self.detect(outputs, size=size, valid_size=valid_size, score=self.min_scores(score), nms=nms)
        return [to_image(of_input, each.frame, each.size) for of_input, each in zip(found, inputs, strict=True)]

    def for_inference(self, precision: InferencePrecision = "float32") -> Self:
        """Make a copy for ``predict``, on the same device, that finds the same detections (to 1e-5) faster.

        BatchNorm is folded into its convolutions, and on a processor so are activations. With ``precision`` "bf16" the
        network computes in bfloat16, which changes scores by some thousandths and is faster where the hardware supports
        it.

        Raises:
            ValueError: For another precision.
        """
        if precision not in get_args(InferencePrecision):
            raise ValueError(f"Expected a precision out of {get_args(InferencePrecision)} but got {precision!r}")
        folded = self.folded()
        if can_fuse(folded.net, precision):
            fuse_convolutions(folded.net)
            folded.set_memory_format(torch.channels_last)
        if precision == "bf16":
            folded.net.to(torch.bfloat16)
        return folded

    def folded(self) -> Self:
        """Make a copy that learns no more, with each BatchNorm folded into the convolution before it."""
        folded = copy.deepcopy(self).eval().requires_grad_(False)
        for name, part in folded.net.named_children():
            if name != "backbone" or getattr(part, "in_order", False) or folds_exactly(part):
                fold_batch_norm(part)
        return folded


def to_image(found: Detections, frame: Frame, size: tuple[int, int]) -> Detections:
    """Move detections to the CPU, from pixels of the input to pixels of its image of ``size`` (H, W)."""
    boxes = torch.from_numpy(frame.to_image(found.boxes.cpu().numpy()))
    return Detections(clip_boxes(boxes, size), found.scores.cpu(), found.labels.cpu())


def _found(outcome: Detections | DataError) -> Detections:
    if isinstance(outcome, DataError):
        raise outcome
    return outcome
