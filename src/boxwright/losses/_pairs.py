"""The input that every box loss takes."""

from __future__ import annotations

from torch import Tensor


def check_pairs(pred: Tensor, target: Tensor) -> None:
    """Raises ValueError unless both are of one shape (N, 4), or (..., 4)."""
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(
            f"Expected pred and target of one shape (N, 4) but got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
