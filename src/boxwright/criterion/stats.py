"""Figures of a step for people, from what the losses were computed of; none of them has a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.boxes import safe_ratio
from boxwright.criterion.results import Positives, Stats
from boxwright.parts import ClassKind


@torch.no_grad()
def stats_of(logits: Tensor, positives: Positives, per_anchor: Tensor, counted: Tensor, kind: ClassKind) -> Stats:
    """Count what a head says of its positives.

    logits (B, A, K'), classification losses (B, A) and which of them count (B, A).
    """
    said = logits[positives.image, positives.anchor]
    scores = said.sigmoid() if kind == "sigmoid" else said.softmax(-1)
    hard = scores.gather(1, positives.labels.unsqueeze(1)) < 0.5
    per_anchor = per_anchor * counted
    return Stats(
        positives=torch.ones_like(positives.labels).sum(),
        matched=histogram(positives.labels, said.shape[-1] - (kind == "softmax")),
        predicted=histogram(said.argmax(-1), said.shape[-1]),
        hard_positives=hard.sum() / max(len(hard), 1),
        positive_share=safe_ratio(per_anchor[positives.image, positives.anchor].sum(), per_anchor.sum()),
    )


def histogram(values: Tensor, length: int) -> Tensor:
    """Count how often each value occurs, (length,); unlike bincount without a wait for the device."""
    zeros = torch.zeros(length, dtype=torch.int64, device=values.device)
    return zeros.index_add(0, values, torch.ones_like(values))
