"""Count, on the CPU, what would make the host wait for an accelerator."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import boxwright
from boxwright._util import devices

_PACKAGE = str(Path(boxwright.__file__).parent)
_ASKING = {
    "aten::_local_scalar_dense",  # item, int, float, bool, tolist of one
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::equal",
    "torchvision::nms",
    "aten::lift_fresh",  # torch.tensor of Python's numbers: a copy to the device
}


class DeviceWaits(TorchDispatchMode):
    """Counts by place, "criterion/dense.py:_gather_positives", the calls whose answer is the device's to give.

    These are reads of values, shapes that depend on them (nonzero, and masks as an index), and tensors made of
    Python's numbers. ``apart``: functions of the package, by such names, below which nothing is counted.
    """

    def __init__(self, apart: Sequence[str] = ()) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()
        self.apart = set(apart)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _asks(func, args, kwargs):
            frames = list(_frames())
            if not self.apart.intersection(frames):
                self.places[frames[0] if frames else "elsewhere"] += 1
        return func(*args, **kwargs)


@contextmanager
def counted_waits(monkeypatch: pytest.MonkeyPatch, apart: Sequence[str] = ()) -> Iterator[Counter[str]]:
    """Take the CPU for an accelerator, and count what would wait for it."""
    with monkeypatch.context() as patch, DeviceWaits(apart) as waits:
        patch.setattr(devices, "_HOST", "no device")
        yield waits.places


def _asks(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    name = func._schema.name
    if name in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
        return any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    if name == "aten::repeat_interleave":
        return kwargs.get("output_size") is None
    return name in _ASKING


def _frames() -> Iterator[str]:
    """The package's functions that are at work, the innermost first."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_PACKAGE):
            yield f"{path[len(_PACKAGE) + 1 :]}:{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
