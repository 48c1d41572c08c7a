"""A dense detector: network, anchors and coder, and the way from people's images to boxes on them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.boxes import clip_boxes
from boxwright.coding import BoxCoder
from boxwright.data.images import decode_image
from boxwright.data.transforms import Frame, resample
from boxwright.models.backbones import fold_batch_norm
from boxwright.nms import NmsKind, suppress, vote_boxes
from boxwright.recipes import Recipe
from boxwright.types import DenseOutputs, Detections

EVALUATION_SCORE = 0.001
"""Lowest score that counts in evaluation: average precision needs the whole curve."""

ImageLike = Any  # torch (3, H, W), numpy (H, W, 3), PIL image or path


class Network(NamedTuple):
    """What a detector's builder gives."""

    net: nn.Module
    """(B, 3, S, S) -> logits (B, A, K'), deltas (B, A, D), and centreness (B, A) where it says so."""
    spec: AnchorSpec
    mean: Sequence[float]
    """Of the input in 0..1, by channel, as the backbone's weights expect it; a recipe may say otherwise."""
    std: Sequence[float]


class DenseDetector(nn.Module):
    """A network that scores K classes and codes a box at every anchor of a square input.

    ``forward`` takes network input and gives raw outputs; ``predict`` takes people's images and gives detections.
    """

    anchors: Anchors

    def __init__(self, network: Network, coder: BoxCoder, recipe: Recipe, *, softmax: bool = False) -> None:
        """``softmax``: the last logit is the background."""
        super().__init__()
        self.net = network.net
        self.coder = coder
        self.recipe = recipe
        self.softmax = softmax
        self.memory_format = torch.contiguous_format
        self.anchors = make_anchors(network.spec, recipe.image_size)
        mean, std = recipe.mean or network.mean, recipe.std or network.std
        self.register_buffer("_mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.recipe.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> DenseOutputs:
        """Normalised input (B, 3, S, S) -> logits (B, A, K or K + 1), deltas (B, A, D), centreness (B, A) or None."""
        return DenseOutputs(*self.net(images))

    def _apply(self, fn: Any, recurse: bool = True) -> DenseDetector:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.anchors = self.anchors.to(self.device)
        return self

    def lay_out(self, memory_format: torch.memory_format) -> DenseDetector:
        """Weights and inputs in this memory format: a matter of speed alone."""
        self.memory_format = memory_format
        return self.to(memory_format=memory_format)

    def normalize(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) uint8 or float in 0..255 -> network input, in the network's memory format."""
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        return ((images.float() - mean) / std).contiguous(memory_format=self.memory_format)

    @torch.no_grad()
    def detect(
        self, outputs: DenseOutputs, *, score: float = EVALUATION_SCORE, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Raw outputs -> the detections of each input, in its pixels, of a score above ``score``.

        With centre-ness a score is the geometric mean of it and the class's: the order is that of FCOS's product
        (arXiv:1904.01355, section 3.3), the scale that of a score alone.
        """
        logits = outputs.logits.float()
        scores = logits.softmax(-1)[..., :-1] if self.softmax else logits.sigmoid()
        if outputs.centreness is not None:
            scores = (scores * outputs.centreness.float().sigmoid().unsqueeze(-1)).sqrt()
        return [
            self._detect_one(s, d, score, nms or self.recipe.nms) for s, d in zip(scores, outputs.deltas, strict=True)
        ]

    def _detect_one(self, scores: Tensor, deltas: Tensor, least: float, kind: NmsKind) -> Detections:
        best, anchor, labels = self._candidates(scores, least)
        boxes = self.coder.decode(self.anchors.boxes[anchor], deltas[anchor].float())
        boxes = clip_boxes(boxes, (self.recipe.image_size, self.recipe.image_size))
        threshold, agnostic = self.recipe.nms_threshold, self.recipe.nms_agnostic
        keep, left = suppress(boxes, best, labels, threshold, kind, least_score=least, agnostic=agnostic)
        keep, left = keep[: self.recipe.max_detections], left[: self.recipe.max_detections]
        found = boxes[keep]
        if self.recipe.vote:
            found = vote_boxes(found, labels[keep], boxes, best, labels, self.recipe.vote)
        return Detections(found, left, labels[keep])

    def _candidates(self, scores: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, anchors and labels (n,) of the best pairs of an anchor and a class, which go into NMS."""
        columns = scores.shape[1]
        if self.recipe.candidates_per == "class":
            best, anchor = scores.topk(min(self.recipe.candidates, len(scores)), dim=0)
            best, flat = best.flatten(), (anchor * columns + torch.arange(columns, device=anchor.device)).flatten()
        else:
            best, flat = scores.flatten().topk(min(self.recipe.candidates, scores.numel()))
        best, flat = best[best > least], flat[best > least]
        return best, flat // columns, flat % columns

    @torch.inference_mode()
    def predict(self, images: Any, score: float | None = None, nms: NmsKind | None = None) -> list[Detections]:
        """Detections of each image, in its own pixels, by falling score.

        ``images``: one image or a sequence of them: torch (3, H, W) or a batch (B, 3, H, W), numpy (H, W, 3), PIL
        images or paths; RGB, uint8 0..255 or float 0..1, any sizes. ``score`` and ``nms``: instead of the recipe's.
        Raises DataError for a file that can't be read, ValueError for another shape or type.
        """
        was_training = self.training
        self.eval()
        try:
            return [self._predict_one(as_rgb(image), score, nms) for image in _each(images)]
        finally:
            self.train(was_training)

    def _predict_one(self, image: NDArray[Any], score: float | None, nms: NmsKind | None) -> Detections:
        height, width = image.shape[:2]
        side = self.recipe.image_size
        frame = Frame.whole(height, width, side, self.recipe.resize)
        if self.recipe.antialias:
            batch = torch.from_numpy(resample(np.round(image).astype(np.uint8), frame)).permute(2, 0, 1)[None]
        else:
            exact = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            batch = F.interpolate(exact, size=(side, side), mode="bilinear", align_corners=False)
        batch = batch.to(self.device)
        least = self.recipe.score if score is None else score
        found = self.detect(self(self.normalize(batch)), score=least, nms=nms)[0]
        return to_image(found, frame, (height, width))

    def for_inference(self) -> DenseDetector:
        """A copy whose BatchNorm is folded into its convolutions: the same detections, sooner."""
        folded = copy.deepcopy(self).eval().requires_grad_(False)
        fold_batch_norm(folded.net)
        return folded


def to_image(found: Detections, frame: Frame, size: tuple[int, int]) -> Detections:
    """Detections in pixels of the input -> on the CPU, in pixels of the image of ``size`` (H, W) that it shows."""
    boxes = torch.from_numpy(frame.to_image(found.boxes.cpu().numpy()))
    return Detections(clip_boxes(boxes, size), found.scores.cpu(), found.labels.cpu())


def _each(images: Any) -> Sequence[ImageLike]:
    if isinstance(images, Tensor) and images.ndim == 4:
        return list(images)
    if isinstance(images, Sequence) and not isinstance(images, str):
        return images
    return [images]


def as_rgb(image: ImageLike) -> NDArray[Any]:
    """Any image that ``predict`` takes, as (H, W, 3) uint8, or float32 in 0..255 where it has floats."""
    if isinstance(image, str | Path):
        return decode_image(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, Tensor):
        image = image.detach().cpu().movedim(0, -1).numpy() if image.ndim == 3 else image.numpy()
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"Expected an RGB image: torch (3, H, W), numpy (H, W, 3), PIL or a path, but got {shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating) or not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            f"Expected uint8 in 0..255 or float in 0..1 but got {image.dtype} in {image.min()}..{image.max()}"
        )
    return np.asarray(image, np.float32) * 255
