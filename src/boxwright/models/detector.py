"""What all detectors share: from images to network input, and from raw outputs to boxes on the images."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright._util.memory import out_of_memory
from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.boxes import clip_boxes
from boxwright.coding import BoxCoder
from boxwright.data.decoded import Decoded
from boxwright.data.depth import to_eight_bits
from boxwright.data.images import PLAIN, PixelRule, decode_reduced, from_pil
from boxwright.data.transforms import Frame, resample
from boxwright.errors import DataError, RecipeError
from boxwright.evaluate.thresholds import Thresholds, read_wish
from boxwright.models.batching import Input, predict_stream
from boxwright.models.fused import can_fuse, fuse_convolutions
from boxwright.models.layers import fold_batch_norm, folds_exactly, keep_statistics
from boxwright.models.selection import EVALUATION_SCORE, above_own
from boxwright.nms import NmsKind
from boxwright.recipes import Recipe
from boxwright.types import Detections

ImageLike = Any  # torch (3, H, W), numpy (H, W, 3), PIL image or path


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
    def forward(self, images: Tensor, shown: Tensor | None = None) -> Any:
        """Compute raw outputs from normalized input (B, 3, H, W).

        ``shown``: the first (B, 2) rows and columns are the image and the rest is padding; None: no padding.
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
        """Turn raw outputs into the detections of each input, in its pixels.

        Args:
            outputs: Raw outputs.
            size: (H, W) of the inputs; None: the recipe's square.
            shown: Rows and columns (B, 2) that are image; boxes are clipped to them.
            score: Lower limit of the scores, one or (K,) by class.
            nms: Kind of NMS instead of the recipe's.

        Raises:
            ValueError: If there is another number of scores.
        """
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

    def lay_out(self, memory_format: torch.memory_format) -> Self:
        """Set the memory format of weights and inputs, which affects speed only."""
        self.memory_format = memory_format
        return self.to(memory_format=memory_format)

    def normalize(self, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """Normalize (B, 3, H, W) uint8 or float in 0..255 for the network, in its memory format.

        Beyond the ``shown`` (B, 2) rows and columns the result is 0, the mean color; None: no padding.
        """
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        x = (images.float() - mean) / std
        if shown is not None:
            rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
            x = x * ((rows < shown[:, :1])[:, None, :, None] & (columns < shown[:, 1:])[:, None, None, :])
        return x.contiguous(memory_format=self.memory_format)

    def least_scores(self, score: Score | None = None) -> float | Sequence[float]:
        """Return the score above which ``predict`` keeps detections, for all classes or (K,) by class.

        Raises:
            ValueError: For text other than ``precision=P`` and ``recall=R``.
            RecipeError: If no validation measured these.
        """
        if score is None:
            return self.recipe.score if self.thresholds is None else self.thresholds.scores
        if not isinstance(score, str):
            return score
        wish = read_wish(score)
        if self.thresholds is None or self.thresholds.all_classes.curve is None:
            raise RecipeError(
                f"{wish} is read off a validation, of which this model has "
                + ("none" if self.thresholds is None or not self.thresholds.images else "too few objects")
                + ": boxwright eval RUN DATA --split val --save-thresholds keeps one"
            )
        return [each.score for each in self.thresholds.expected(wish).values()]

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
            return list(map(_found, predict_stream(self, _each(images), score=score, nms=nms, batch=batch)))
        finally:
            self.train(was_training)

    def prepare(self, image: ImageLike) -> Input:
        """Read an image that ``predict`` accepts, at the size of the network's input.

        Raises:
            DataError: As ``predict``.
            ValueError: As ``predict``.
        """
        if isinstance(image, str | Path):
            decoded = decode_reduced(image, self.recipe.pixels, self.recipe.reduction())
        else:
            decoded = Decoded.whole(as_rgb(image, self.recipe.pixels))
        height, width = decoded.size
        with out_of_memory(f"an image of {height} x {width} pixels", "a model of a smaller image_size takes less"):
            frame = self.recipe.input_size.whole(height, width)
            multiple = self.recipe.input_size.multiple
            below, right = (-side % multiple for side in frame.size)
            return Input(F.pad(self._resampled(decoded, frame), (0, 0, 0, right, 0, below)), frame, decoded.size)

    def _resampled(self, image: Decoded, frame: Frame) -> Tensor:
        """Resample to (*frame.size, 3) uint8, or float32 in 0..255 without antialiasing."""
        if self.recipe.antialias:
            return torch.from_numpy(resample(image._replace(pixels=as_levels(image.pixels)), frame))
        exact = torch.from_numpy(image.pixels).permute(2, 0, 1)[None].float()
        return F.interpolate(exact, size=frame.size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)

    @torch.inference_mode()
    def predict_inputs(
        self, inputs: Sequence[Input], score: Score | None = None, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Detect in inputs of one size made by ``prepare``; boxes are in pixels of each image.

        The detector must be in evaluation mode.

        Raises:
            BoxwrightError: If the inputs do not fit the memory.
        """
        batch = torch.stack([each.pixels for each in inputs]).permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W)
        size = batch.shape[2], batch.shape[3]
        padded = any(each.frame.size != size for each in inputs)
        shown = torch.tensor([each.frame.size for each in inputs]) if padded else None
        x = self.normalize(batch.to(self.device), None if shown is None else shown.to(self.device))
        outputs = self(x.to(next(self.net.parameters()).dtype), shown)
        found = self.detect(outputs, size=size, shown=shown, score=self.least_scores(score), nms=nms)
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
    """Move detections to the CPU, from pixels of the input to pixels of its image of ``size`` (H, W)."""
    boxes = torch.from_numpy(frame.to_image(found.boxes.cpu().numpy()))
    return Detections(clip_boxes(boxes, size), found.scores.cpu(), found.labels.cpu())


def _found(outcome: Detections | DataError) -> Detections:
    if isinstance(outcome, DataError):
        raise outcome
    return outcome


def as_levels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Round pixels in 0..255 to whole numbers, unless they are whole already."""
    return pixels if pixels.dtype == np.uint8 else np.round(pixels).astype(np.uint8)


def _each(images: Any) -> Sequence[ImageLike]:
    if isinstance(images, Tensor) and images.ndim == 4:
        return list(images)
    if isinstance(images, Sequence) and not isinstance(images, str):
        return images
    return [images]


def as_rgb(image: ImageLike, rule: PixelRule = PLAIN) -> NDArray[Any]:
    """Convert any image in memory that ``predict`` accepts to (H, W, 3) uint8, or float32 in 0..255 if it has floats.

    Arrays are treated like files with such pixels: gray becomes RGB, alpha is dropped, and 16 bits are scaled to 8 by
    the range of ``rule``.

    Raises:
        ValueError: For other shapes, types and values.
    """
    pixels = from_pil(image, rule) if isinstance(image, Image.Image) else _channels_last(image)
    if pixels.size == 0:
        raise ValueError(f"Expected an image with pixels but got {pixels.shape[0]} rows and {pixels.shape[1]} columns")
    if pixels.dtype in (np.uint16, np.int16):
        return to_eight_bits(pixels, rule.limits)
    if pixels.dtype != np.uint8:
        low, high = pixels.min(), pixels.max()
        if not np.issubdtype(pixels.dtype, np.floating) or not (low >= 0 and high <= 1):
            cure = ": divide by 255" if low >= 0 and 1 < high <= 255 and pixels.dtype.kind == "f" else ""
            raise ValueError(
                f"Expected uint8 in 0..255, 16 bits or float in 0..1 but got {pixels.dtype} in {low}..{high}{cure}"
            )
        pixels = np.asarray(pixels, np.float32) * 255
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[..., :3])


def _channels_last(image: Any) -> NDArray[Any]:
    """Return an array's pixels as (H, W, 1 to 4), from numpy's or torch's order; raises ValueError for non-images."""
    if isinstance(image, Tensor):
        values = image.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
        pixels, order = values.numpy(), "torch (3, H, W)"
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    elif isinstance(image, np.ndarray):
        pixels, order = image, "numpy (H, W, 3)"
    else:
        raise ValueError(f"Expected an image: a path, PIL, {_ARRAYS} but got {type(image).__name__}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise ValueError(f"Expected {_ARRAYS}, or 1, 2 or 4 channels, but got {tuple(image.shape)} as {order}")
    return pixels


_ARRAYS = "numpy (H, W, 3) or torch (3, H, W)"
