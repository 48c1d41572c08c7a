"""Five rules, by name, for what the summed losses of a batch are divided by.

Each takes the anchors that count (B, A) bool, and of the P positives their image (P,), whether they are kept, 1 or 0
(P,), and the quality that their class loss learns (P,). It returns the divisor, a scalar of this rank, and a factor for
each image's losses (B,). Counts are means over the ranks of a distributed training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Normalizer = Literal["positives", "quality", "image", "batch", "samples"]
Rule = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def by_positives(counted: Tensor, image: Tensor, kept: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the positives of the batch."""
    return kept.sum(), kept.new_ones(len(counted))


def by_quality(counted: Tensor, image: Tensor, kept: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the sum of the positives' qualities (Generalized Focal Loss, arXiv 2006.04388, section 3.3)."""
    return (quality * kept).sum(), kept.new_ones(len(counted))


def by_image(counted: Tensor, image: Tensor, kept: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Divide each image by its own positives, at least 1, and take the mean over images."""
    images = len(counted)
    share = 1 / kept.new_zeros(images).index_add(0, image, kept).clamp(min=1)
    return kept.new_full((), images), share


def by_batch(counted: Tensor, image: Tensor, kept: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the number of images."""
    images = len(counted)
    return kept.new_full((), images), kept.new_ones(images)


def by_samples(counted: Tensor, image: Tensor, kept: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the anchors whose classification loss counts."""
    return counted.sum().to(kept.dtype), kept.new_ones(len(counted))


RULES: dict[Normalizer, Rule] = {
    "positives": by_positives,
    "quality": by_quality,
    "image": by_image,
    "batch": by_batch,
    "samples": by_samples,
}
NORMALIZERS: tuple[Normalizer, ...] = tuple(RULES)


def mean_over_ranks(count: Tensor) -> Tensor:
    """Average a count over all ranks; without ``torch.distributed`` return it unchanged."""
    if not torch.distributed.is_initialized():
        return count
    total = count.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def least_divisor() -> float:
    """Return the smallest divisor of a batch's sums: 1 over all ranks, each rank holding the mean."""
    return 1 / torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1.0
