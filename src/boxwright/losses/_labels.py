"""Labels as rows of zeros and ones."""

from __future__ import annotations

import torch
from torch import Tensor


def one_hot(labels: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
    """Return rows (..., K) of labels (...) in -1..K, 1 in the label's column: all zeros for background K and for -1."""
    rows = torch.eye(columns + 1, columns, dtype=dtype, device=labels.device)
    return torch.embedding(rows, labels.remainder(columns + 1))
