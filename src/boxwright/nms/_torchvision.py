"""torchvision's NMS operator, without the second or more that importing all of torchvision takes.

Its operators are a library next to its modules, one of which imports torch's compiler.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec

import torch
from torch import Tensor

_LIBRARIES = ("_C", "_C_stable")  # the name depends on the version


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Return indices (m,) of the boxes (n, 4) that greedy suppression keeps, by falling score (n,)."""
    _load_operators()
    kept: Tensor = torch.ops.torchvision.nms(boxes, scores, iou)
    return kept


@cache
def _load_operators() -> None:
    """Load the library, or import torchvision if the library is elsewhere or needs torchvision's set-up."""
    package = find_spec("torchvision")
    places = package.submodule_search_locations if package else []
    found = [PathFinder.find_spec(name, places) for name in _LIBRARIES]
    try:
        torch.ops.load_library(next(library.origin for library in found if library))  # type: ignore[no-untyped-call]
    except (StopIteration, OSError):
        import_module("torchvision")
