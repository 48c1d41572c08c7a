"""The transfer of a batch from a worker to the device, in parallel to the steps that it computes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from boxwright.data.loading import Batch

_ALIGNED = 8  # bytes: alignment for any type of numbers


class _Place(NamedTuple):
    """Position of a tensor among bytes."""

    start: int
    stop: int
    dtype: torch.dtype
    shape: torch.Size


@dataclass
class Parcel:
    """A batch as two tensors: the pixels, and the bytes of all others.

    Each tensor that a worker hands over, or that is pinned or copied to a device, takes the interpreter's lock, and so
    time from the thread that trains.
    """

    pixels: Tensor
    rest: Tensor
    """(n,) uint8."""
    outline: Batch
    """The batch with the positions of all tensors but the pixels."""

    @classmethod
    def of(cls, batch: Batch) -> Parcel:
        """Pack a batch."""
        pieces: list[Tensor] = []

        def put(tensor: Tensor) -> _Place:
            """Add a tensor's bytes and return its position."""
            start = sum(map(len, pieces))
            piece = tensor.contiguous().flatten().view(torch.uint8)
            pieces.append(pad(piece, (0, -len(piece) % _ALIGNED)))
            return _Place(start, start + len(piece), tensor.dtype, tensor.shape)

        outline = batch._replace(images=None).each(put)  # type: ignore[arg-type]
        return cls(batch.images, torch.cat(pieces), outline)

    def open(self) -> Batch:
        """Unpack the batch where it is."""

        def take(place: _Place) -> Tensor:
            """Return the tensor at a position."""
            return self.rest[place.start : place.stop].view(place.dtype).view(place.shape)

        return self.outline.each(take)._replace(images=self.pixels)

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors that are handed over."""
        return [self.pixels, self.rest]

    def pin_memory(self) -> Parcel:
        """Copy to memory that devices can read directly, as a loader requests."""
        return Parcel(self.pixels.pin_memory(), self.rest.pin_memory(), self.outline)

    def to(self, device: torch.device) -> Parcel:
        """Copy to a device; from pinned memory without waiting for the copy."""
        pixels, rest = (tensor.to(device, non_blocking=True) for tensor in self.tensors)
        return Parcel(pixels, rest, self.outline)


def copy_to(batch: Batch | Parcel, device: torch.device) -> Batch:
    """Copy a batch to a device; on CUDA on a stream of its own, so that it does not queue behind the step before.

    The computing stream waits for the copy, and the host for neither if the batch is in pinned memory.
    """
    moved: Batch | Parcel
    if device.type == "cuda":
        copying, computing = _copy_stream(device), torch.cuda.current_stream(device)
        with torch.cuda.stream(copying):
            moved = batch.to(device)
        computing.wait_stream(copying)
        for (
            tensor
        ) in moved.tensors:  # allocated on one stream and used on the other: must not be reused before that is done
            tensor.record_stream(computing)
    else:
        moved = batch.to(device)
    return moved.open() if isinstance(moved, Parcel) else moved


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
