"""The copy of a batch to the device, beside the steps that it computes."""

from __future__ import annotations

from functools import cache

import torch

from boxwright.data.loading import Batch


def copy_to(batch: Batch, device: torch.device) -> Batch:
    """Copy a batch to a device; on CUDA on a stream of its own, so that it doesn't queue behind the step before.

    The stream that computes waits for the copy, and the host for neither where the batch lies in pinned memory.
    """
    if device.type != "cuda":
        return batch.to(device)
    copying, computing = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = batch.to(device)
    computing.wait_stream(copying)
    for tensor in moved.tensors:  # allocated on one stream and used on the other: not to be reused before that is done
        tensor.record_stream(computing)
    return moved


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
