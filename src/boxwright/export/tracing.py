"""What both forms share on the way through torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.export import Dim

from boxwright.data.transforms import BATCH_MULTIPLE


def free_sizes(inputs: Mapping[str, Tensor], *, dynamic: bool) -> dict[str, dict[int, Any]] | None:
    """Choose the sizes of inputs (B, ...) that may vary; None: none.

    B varies where it is ``dynamic``; with ``valid_size``, so do the sides of ``images`` (B, H, W, 3), in multiples
    of 32.
    """
    free: dict[str, dict[int, Any]] = {name: {} for name in inputs}
    if "valid_size" in inputs:
        free["images"] = {1: BATCH_MULTIPLE * Dim("rows", min=1), 2: BATCH_MULTIPLE * Dim("columns", min=1)}
    if dynamic:
        batch = Dim("batch", min=1)
        free = {name: {0: batch, **sides} for name, sides in free.items()}
    return free if any(free.values()) else None


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the exporter's messages about its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
