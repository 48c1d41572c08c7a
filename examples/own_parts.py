"""Parts of one's own, each a few lines: name them as ``own_parts:NAME`` wherever a recipe names a part.

boxwright train DATA --set box_loss=own_parts:wing_loss:width=2
boxwright compare DATA --vary box_loss=giou,own_parts:wing_loss
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import boxwright as bw
from boxwright.anchors import Anchors
from boxwright.types import Matches


@bw.box_loss(space="boxes", default_weight=2.0)
def wing_loss(pred: Tensor, target: Tensor, width: float = 1.0, curvature: float = 0.5) -> Tensor:
    """Wing loss (arXiv 1711.06753, eq. 5) of the corners, in shares of the target's size: (N, 4), (N, 4) -> (N,)."""
    size = (target[:, 2:] - target[:, :2]).repeat(1, 2)
    error = ((pred - target) / size).abs()
    bent = width * torch.log1p(error / curvature)
    straight = error - width + width * torch.log1p(torch.tensor(width / curvature))
    return torch.where(error < width, bent, straight).sum(-1)


def _no_counts(classes: int, **options: object) -> Tensor:
    return torch.zeros(classes)


@bw.class_loss(kind="softmax", state=_no_counts)
def frequency_loss(logits: Tensor, targets: Tensor, state: Tensor) -> Tensor:
    """Cross entropy that counts rare classes for more; ``state`` (K,) holds how often each was seen so far.

    logits (N, K + 1) with background last, targets int64 (N,) with -1 for ignored -> (N,).
    """
    classes = len(state)
    seen = torch.bincount(targets[(targets >= 0) & (targets < classes)], minlength=classes)
    state += seen  # in place: the criterion keeps it, and a resumed run goes on with it
    weights = (state.sum() / classes / state.clamp(min=1)).sqrt().clamp(max=10)
    weight = torch.cat([weights, weights.new_ones(1)])[targets]  # -1 takes background's 1
    return weight * bw.losses.cross_entropy(logits, targets)


@bw.matcher(needs=("predictions",))
def match_by_prediction(
    anchors: Anchors | Tensor, boxes: Tensor, labels: Tensor, *, ignore: Tensor, predictions: Tensor, top: int = 4
) -> Matches:
    """Match each target with the ``top`` anchors whose predicted box overlaps it most.

    boxes (B, G, 4), labels (B, G) with -1 for padding, ignore (B, G), predictions (B, A, 4).
    """
    real = (labels >= 0) & ~ignore
    iou = torch.stack([bw.boxes.box_iou(*pair) for pair in zip(boxes, predictions, strict=True)])  # (B, G, A)
    quality = iou * real.unsqueeze(-1)
    best = quality.topk(min(top, quality.shape[-1]), dim=-1)
    chosen = torch.zeros_like(quality).scatter_(-1, best.indices, best.values)  # 0 but for the best
    overlap, gt_index = chosen.max(1) if boxes.shape[1] else (chosen.sum(1), chosen.sum(1).long())  # (B, A)
    state = (overlap > 0).to(torch.int8)
    return Matches(gt_index * state, state, overlap)


@bw.miner(ranks_by="classification")
def above_median(losses: Tensor, state: Tensor) -> Tensor:
    """Keep all positives and the harder half of each image's negatives: (B, A), (B, A) -> (B, A) bool."""
    negative = state == 0
    middle = losses.masked_fill(~negative, torch.nan).nanmedian(1, keepdim=True).values
    return (state == 1) | (negative & (losses >= middle))


@bw.coder
class LinearCoder:
    """Center and sides in sides of the anchor, without a logarithm: 4 numbers an anchor."""

    dim = 4

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """(..., 4) xyxy -> (..., 4)."""
        anchor, box = (bw.boxes.convert_boxes(each, "xyxy", "cxcywh") for each in (anchors, boxes))
        sides = anchor[..., 2:]
        return torch.cat([(box[..., :2] - anchor[..., :2]) / sides, box[..., 2:] / sides - 1], -1)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """The way back."""
        anchor = bw.boxes.convert_boxes(anchors, "xyxy", "cxcywh")
        sides = anchor[..., 2:]
        center = anchor[..., :2] + deltas[..., :2] * sides
        return bw.boxes.convert_boxes(torch.cat([center, (deltas[..., 2:] + 1) * sides], -1), "cxcywh", "xyxy")


@bw.augmentation
def blot(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Gray out a rectangle of a ninth of the image, as something that stands in the way."""
    height, width = image.shape[0] // 3, image.shape[1] // 3
    top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    image[top : top + height, left : left + width] = 114
    return image, boxes, labels


@bw.optimizer
def adam(groups: list[dict[str, object]], lr: float) -> torch.optim.Optimizer:
    """Adam, whose weight decay is part of the gradient."""
    return torch.optim.Adam(groups, lr=lr)


@bw.schedule
def linear(done: float) -> float:
    """Fall from the peak to a hundredth of it in a straight line."""
    return 1 - 0.99 * done
